//! Roles: create, list, read, change and delete them.

use std::sync::Arc;

use crate::actors::account::messages::{CreateRole, DeleteRole, UpdateRole};
use crate::domain::account::Role;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::account as valid;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::account::Roles;
use crate::http::dto::object_body;
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Success};

pub const CREATE: Operation = Operation::new("roles", "createRole", "Creates a role.")
    .takes(crate::domain::account::Role::SHAPE)
    .demanding(valid::ROLE_CREATION)
    .makes(&[("roleName", "$request.body#/name")], &[])
    .fails_with(&[Code::RoleExists, Code::RoleQuota]);

pub const LIST: Operation = Operation::new("roles", "listRoles", "Lists all roles.")
    .answers(Success::Json(dto::account::Roles::SHAPE));

pub const GET: Operation = Operation::new("roles", "readRole", "Returns a role.")
    .answers(Success::Json(crate::domain::account::Role::SHAPE))
    .fails_with(&[Code::RoleNotExists]);

pub const PUT: Operation = Operation::new(
    "roles",
    "replaceRolePermissions",
    "Replaces the permissions of a role. They count at once for all accounts that have the role.",
)
.takes(crate::domain::account::Role::SHAPE)
.demanding(valid::ROLE_UPDATE)
.fails_with(&[Code::RoleNotExists, Code::BuiltInRole]);

pub const DELETE: Operation = Operation::new("roles", "deleteRole", "Deletes a role that no account has.")
    .fails_with(&[Code::RoleNotExists, Code::BuiltInRole, Code::RoleInUse]);

/// `POST /v4/roles`.
pub async fn create(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let role: Role = object_body(call.body())?;
    valid::role_creation(&role)?;
    api.write_access(CreateRole { role }).await?;
    Ok(Reply::empty())
}

/// `GET /v4/roles`.
pub async fn list(api: Arc<Api>, _: Call) -> Result<Reply, Error> {
    let snapshot = api.reader.load_full();
    let roles: Vec<Role> = snapshot.access.roles().map(|role| role.as_ref().clone()).collect();
    let total = i32::try_from(roles.len()).unwrap_or(i32::MAX);
    api.encoded(Load::Memory, &Roles { total, roles })
}

/// `GET /v4/roles/{roleName}`.
pub async fn get(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let name = call.param("roleName");
    let look = || api.reader.load().access.role(name).cloned();
    let mut found = look();
    if found.is_none() {
        api.freshness.catch_up().await;
        found = look();
    }
    let (role, _) = found.ok_or_else(|| Error::new(Code::RoleNotExists, ""))?;
    Ok(Reply::encoded(&*role))
}

/// `PUT /v4/roles/{roleName}`.
pub async fn put(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let change: Role = object_body(call.body())?;
    valid::role_update(&change)?;
    let (name, permissions) = (call.param("roleName").to_owned(), change.permissions);
    api.write_access(UpdateRole { name, permissions }).await?;
    Ok(Reply::empty())
}

/// `DELETE /v4/roles/{roleName}`.
pub async fn delete(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let name = call.param("roleName").to_owned();
    api.write_access(DeleteRole { name }).await?;
    Ok(Reply::empty())
}
