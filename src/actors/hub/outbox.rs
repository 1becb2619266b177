//! placeholder until the session's own lands.
use crate::cache::Action;
use crate::domain::event::InstanceRef;
use bytes::Bytes;
/// x
#[derive(Debug, Default)]
pub struct Outbox;
impl Outbox {
    /// x
    pub fn push(&self, _at: InstanceRef, _action: Action, _frame: Bytes) {}
}
/// x
pub fn text_frame(text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(text)
}
