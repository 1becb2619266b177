//! Quotas: how much a tenant may hold. Checked only for what is new, so that a full registry keeps its members.

use crate::error::{Code, Error};

/// The limits in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Tenants that hold something. Without it the others would bound nothing: each tenant has its own.
    pub tenants: usize,
    /// Service versions a tenant.
    pub services: usize,
    /// Instances a tenant.
    pub instances: usize,
    /// Schemas a service.
    pub schemas: usize,
    /// Bytes of schema texts a service.
    pub schema_bytes: usize,
    /// Tags a service.
    pub tags: usize,
    /// Providers a consumer.
    pub dependencies: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            tenants: 10_000,
            services: 50_000,
            instances: 150_000,
            schemas: 100,
            schema_bytes: 64 << 20,
            tags: 100,
            dependencies: 1_000,
        }
    }
}

/// 400100 unless one more fits. `what` is `DOMAIN`, `SERVICE`, `INSTANCE` or `SCHEMA`.
pub fn check(what: &str, limit: usize, current: usize) -> Result<(), Error> {
    check_several(what, limit, current, 1)
}

/// 400100 unless this many more fit. None always fit, however many there are.
pub fn check_several(what: &str, limit: usize, current: usize, more: usize) -> Result<(), Error> {
    if more == 0 || current.saturating_add(more) <= limit {
        return Ok(());
    }
    let detail =
        format!("no quota to create {what}, max num is {limit}, curNum is {current}, apply num is {more}");
    Err(Error::new(Code::NotEnoughQuota, detail))
}

/// 400100: `current` bytes are held, and with the new ones it would be more than the limit.
pub fn too_many_bytes(what: &str, limit: usize, current: usize, new: usize) -> Error {
    let detail = format!(
        "no quota to create {what}, max num of bytes is {limit}, curNum is {current}, apply num is {new}"
    );
    Error::new(Code::NotEnoughQuota, detail)
}
