//! Dependency rules with tenants that are not the caller's, and with more rules than a service needs.
