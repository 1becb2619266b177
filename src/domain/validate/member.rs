//! Rules of members that several requests share.

use super::pattern;
use super::rule::Rule;

/// Id of a service that is asked for.
pub const SERVICE_ID: Rule = Rule::between(1, 64).and_like(pattern::ID);
/// Id of an instance that is asked for.
pub const INSTANCE_ID: Rule = Rule::between(1, 64).and_like(pattern::INSTANCE_ID);
/// Id of the consumer a request is made for; may be empty.
pub const CONSUMER_ID: Rule = Rule::at_most(64).and_like(pattern::ID);
/// Environment.
pub const ENVIRONMENT: Rule = Rule::like(pattern::ENVIRONMENT);
/// Application, where none is assumed.
pub const APP_ID: Rule = Rule::between(1, 160).and_like(pattern::NAME);
/// Application, where one is assumed.
pub const OPTIONAL_APP_ID: Rule = Rule::at_most(160).and_like(pattern::NAME);
/// Name of a service.
pub const SERVICE_NAME: Rule = Rule::between(1, 128).and_like(pattern::NAME);
/// Name or alias of a service that is looked for.
pub const FIND_NAME: Rule = Rule::between(1, 289).and_like(pattern::FIND_NAME);
/// Second name of a service.
pub const ALIAS: Rule = Rule::at_most(128).and_like(pattern::ALIAS);
/// Tenant of a service that a request names; may be empty.
pub const TENANT: Rule = Rule::like(pattern::TENANT);
/// One version.
pub const VERSION: Rule = Rule::between(1, 64).and_like(pattern::VERSION);
/// Key or value of a tag.
pub const TAG: Rule = Rule::like(pattern::TAG);
