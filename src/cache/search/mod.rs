//! Searches a snapshot for services and instances, for the pages of operators.
//!
//! A search visits every service of a tenant once: the caller feeds it, service by service, and can pause in between. It keeps
//! counts and the items of one page, so its memory does not grow with the registry. A service knows how many of its instances have
//! which status, and keeps the texts of its instances for a while after a search.

pub mod instances;
pub mod near;
pub mod needle;
pub mod raw_instance;
pub mod services;
pub mod text;
mod top;

pub use instances::{
    FoundInstance, InstanceConditions, InstancePlace, InstanceSearch, InstanceSort, SearchedService,
};
pub use needle::Needle;
pub use services::{FoundService, ServiceConditions, ServicePlace, ServiceSearch, ServiceSort, ServiceState};
pub use top::{Order, PageFrame, Top};
