//! Quotas: how much a tenant may hold. Only new objects are checked, so a tenant over its quota can still update what it has.

use crate::error::{Code, Error};

/// The configured quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Most tenants that hold something. The other quotas are for each tenant, so they alone would not limit the registry.
    pub tenants: usize,
    /// Most service versions of a tenant.
    pub services: usize,
    /// Most instances of a tenant.
    pub instances: usize,
    /// Most schemas of a service.
    pub schemas: usize,
    /// Most bytes of schema texts of a service.
    pub schema_bytes: usize,
    /// Most tags of a service.
    pub tags: usize,
    /// Most providers of a consumer.
    pub dependencies: usize,
    /// Most accounts of the registry.
    pub accounts: usize,
    /// Most roles of the registry.
    pub roles: usize,
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
            accounts: 1_000,
            roles: 100,
        }
    }
}

/// 400100 unless one more fits. `what` is `DOMAIN`, `SERVICE`, `INSTANCE` or `SCHEMA`.
pub fn check(what: &str, limit: usize, current: usize) -> Result<(), Error> {
    check_several(what, limit, current, 1)
}

/// 400100 unless this many more fit. Zero more always fit, even if there are already more than the limit.
pub fn check_several(what: &str, limit: usize, current: usize, more: usize) -> Result<(), Error> {
    if more == 0 || current.saturating_add(more) <= limit {
        return Ok(());
    }
    let detail =
        format!("no quota to create {what}, max num is {limit}, curNum is {current}, apply num is {more}");
    Err(Error::new(Code::NotEnoughQuota, detail))
}

/// 400203 unless one more account fits.
pub fn check_accounts(limit: usize, current: usize) -> Result<(), Error> {
    check("ACCOUNT", limit, current).map_err(|error| Error { code: Code::AccountQuota, ..error })
}

/// 400204 unless one more role fits.
pub fn check_roles(limit: usize, current: usize) -> Result<(), Error> {
    check("ROLE", limit, current).map_err(|error| Error { code: Code::RoleQuota, ..error })
}

/// 400100 for `new` bytes that do not fit, because `current` bytes are already held.
pub fn too_many_bytes(what: &str, limit: usize, current: usize, new: usize) -> Error {
    let detail = format!(
        "no quota to create {what}, max num of bytes is {limit}, curNum is {current}, apply num is {new}"
    );
    Error::new(Code::NotEnoughQuota, detail)
}
