//! Rules of members that several requests have.

use super::pattern;
use super::rule::MemberRule;

/// Id of a service that must exist.
pub const SERVICE_ID: MemberRule = MemberRule::between(1, 64).and_like(pattern::ID);
/// Id of an instance that must exist.
pub const INSTANCE_ID: MemberRule = MemberRule::between(1, 64).and_like(pattern::INSTANCE_ID);
/// Service id of the consumer; may be empty.
pub const CONSUMER_ID: MemberRule = MemberRule::at_most(64).and_like(pattern::ID);
pub const ENVIRONMENT: MemberRule = MemberRule::like(pattern::ENVIRONMENT);
/// Name of an application, in requests that have no default for it.
pub const APP_ID: MemberRule = MemberRule::between(1, 160).and_like(pattern::NAME);
/// Name of an application, in requests that have a default for it.
pub const OPTIONAL_APP_ID: MemberRule = MemberRule::at_most(160).and_like(pattern::NAME);
pub const SERVICE_NAME: MemberRule = MemberRule::between(1, 128).and_like(pattern::NAME);
/// Name or alias of a service in a find.
pub const FIND_NAME: MemberRule = MemberRule::between(1, 289).and_like(pattern::FIND_NAME);
/// Second name of a service.
pub const ALIAS: MemberRule = MemberRule::at_most(128).and_like(pattern::ALIAS);
/// Tenant of a service that a request names; may be empty.
pub const TENANT: MemberRule = MemberRule::like(pattern::TENANT);
/// One version, not a range.
pub const VERSION: MemberRule = MemberRule::between(1, 64).and_like(pattern::VERSION);
/// Status to set on an instance.
pub const INSTANCE_STATUS: MemberRule = MemberRule::like(pattern::INSTANCE_STATUS);
/// Schema id that must be there.
pub const SCHEMA_ID: MemberRule = MemberRule::between(1, 160).and_like(pattern::SCHEMA_ID);
/// Names of tags with commas between them; may be empty.
pub const TAGS: MemberRule = MemberRule::like(pattern::TAGS);
/// As [`TAGS`], but not empty.
pub const SOME_TAGS: MemberRule = MemberRule::at_least(1).and_like(pattern::TAGS);
/// [`CONSUMER_ID`], in a header.
pub const CONSUMER_HEADER: MemberRule = MemberRule::at_most(64).and_like(pattern::HEADER_ID);
/// Domain of the tenant, in a header; may be empty.
pub const DOMAIN: MemberRule = MemberRule::like(pattern::DOMAIN);
/// Project of the tenant, in a path.
pub const PROJECT: MemberRule = MemberRule::like(pattern::PROJECT);
/// Key or value of a tag.
pub const TAG: MemberRule = MemberRule::like(pattern::TAG);
