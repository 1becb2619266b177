//! `service-center ctl` and `scctl`: the built program against real daemons, with its exit codes and outputs.

mod contexts;
mod debug;
mod events;
mod lists;
mod nodes;
mod original;
mod reference;
pub mod run;
mod secured;
mod writes;
