//! The name of each operation in the metrics of the original server: there the label `api` is the name of the handler.

/// Operation, and handler of the original. An operation that the original does not have is called by its own name. Two handlers of the
/// original may have one name; their requests then count together, as they do there.
const NAMES: &[(&str, &str)] = &[
    ("addDependencies", "AddDependencies"),
    ("beat", "SendHeartbeat"),
    ("beatByPost", "SendHeartbeat"),
    ("beatMany", "SendManyHeartbeat"),
    ("changeAccount", "UpdateAccount"),
    ("checkExistence", "ResourceExist"),
    ("createPolicy", "Create"),
    ("deletePolicy", "Delete"),
    ("deleteTags", "DeleteManyTags"),
    ("findMany", "InstancesAction"),
    ("forgetAlarms", "ClearAlarm"),
    ("listAccountLocks", "ListLock"),
    ("listAccounts", "ListAccount"),
    ("listAlarms", "AlarmList"),
    ("listApps", "ListApp"),
    ("listClusters", "Clusters"),
    ("listInstances", "ListInstance"),
    ("listOwnPermissions", "ListSelfPerms"),
    ("listPolicies", "ListOrDisPlay"),
    ("listRelations", "Draw"),
    ("listSchemas", "ListSchema"),
    ("listServiceDetails", "ListService"),
    ("listServices", "ListService"),
    ("logIn", "Login"),
    ("putSchema", "PutSchema"),
    ("readAccount", "GetAccount"),
    ("readDump", "Dump"),
    ("readHealth", "ClusterHealth"),
    ("readInstance", "GetInstance"),
    ("readPolicy", "Get"),
    ("readRole", "GetRole"),
    ("readSchema", "GetSchema"),
    ("readService", "GetService"),
    ("readServiceDetail", "GetService"),
    ("readStatistics", "GetOverview"),
    ("readSyncerHealth", "HealthCheck"),
    ("readTags", "ListTag"),
    ("readVersion", "GetVersion"),
    ("registerInstance", "LegacyRegisterInstance"),
    ("replaceDependencies", "PutDependencies"),
    ("replaceInstanceProperties", "PutInstanceProperties"),
    ("replacePolicy", "Put"),
    ("replaceRolePermissions", "UpdateRole"),
    ("replaceSchemas", "PutSchemas"),
    ("replaceServiceProperties", "PutServiceProperties"),
    ("replaceTags", "PutManyTags"),
    ("setInstanceStatus", "PutInstanceStatus"),
    ("setStatusWhere", "UpdateManyInstanceStatus"),
    ("setTag", "PutTag"),
    ("unregisterServices", "UnregisterManyService"),
];

/// `findInstances` is `FindInstances`.
pub(super) fn of(operation: &str) -> String {
    if let Ok(at) = NAMES.binary_search_by_key(&operation, |(known, _)| known) {
        return NAMES.get(at).map(|(_, name)| (*name).to_owned()).unwrap_or_default();
    }
    let mut letters = operation.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes::{Accounts, table};
    use crate::metrics::requests::MOST_ROUTES;

    #[test]
    fn each_name_is_that_of_an_operation() {
        assert!(NAMES.is_sorted_by_key(|(operation, _)| operation));
        for (operation, _) in NAMES {
            assert!(table(Accounts::On).any(|row| row.operation.id == *operation), "{operation}");
        }
        assert_eq!(of("findInstances"), "FindInstances");
        assert_eq!(of("beatByPost"), "SendHeartbeat");
    }

    #[test]
    fn each_route_has_cells_of_its_own() {
        assert!(table(Accounts::On).count() < MOST_ROUTES);
    }
}
