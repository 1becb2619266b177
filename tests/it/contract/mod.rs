//! What the API answers, seen by a client.

mod etcd_data;
mod etcd_layout;
mod golden;
