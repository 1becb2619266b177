//! Dependencies: the request body.

use crate::domain::ServiceKey;
use crate::domain::dependency::Dependency;
use crate::domain::validate::dependency::{Asker, DependencyWrite};
use crate::domain::validate::{self, rule};
use crate::error::Error;
use crate::json_object;

json_object! {
    /// The body of a request that adds or replaces dependencies.
    pub struct Dependencies {
        /// Consumers with their providers. Required.
        "dependencies" => dependencies: Vec<Option<DependencyEntry>>,
    }
}

json_object! {
    /// A consumer and its providers. `POST` adds them to the providers of the consumer, `PUT` replaces these. The member
    /// `override` of old clients is ignored.
    pub struct DependencyEntry {
        /// The consumer. Required.
        "consumer" => consumer: Option<ServiceKey>,
        /// The providers. Required by `POST`.
        "providers" => providers: Vec<Option<ServiceKey>>,
    }
}

impl Dependencies {
    /// The entries, after validation; 400001 for an invalid one. Defaults for tenant, application and version are not filled in.
    pub fn into_dependencies(
        self,
        asker: Asker<'_>,
        write: DependencyWrite,
    ) -> Result<Vec<Dependency>, Error> {
        let entries = rule::all_present(write, self.dependencies)?.into_iter().enumerate();
        let dependencies: Vec<Dependency> = entries
            .map(|(index, entry)| {
                let providers =
                    rule::all_present(format_args!("{write}[{index}].Providers"), entry.providers)?;
                let replace = write == DependencyWrite::Replace;
                Ok(Dependency { consumer: entry.consumer, providers, replace })
            })
            .collect::<Result<_, Error>>()?;
        validate::dependency::request(asker, write, &dependencies)?;
        Ok(dependencies)
    }
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;
    use crate::domain::Tenant;
    use crate::domain::dependency::CrossDomain;

    fn check(write: DependencyWrite, input: &str, expected: Result<usize, &str>) {
        let tenant = Tenant::default_tenant();
        let asker = Asker { tenant: &tenant, cross_domain: CrossDomain::Forbidden };
        let read =
            body::<Dependencies>(input.as_bytes()).and_then(|body| body.into_dependencies(asker, write));
        match (read, expected) {
            (Ok(dependencies), Ok(count)) => {
                assert_eq!(dependencies.len(), count);
                let replace = write == DependencyWrite::Replace;
                assert!(dependencies.iter().all(|dependency| dependency.replace == replace));
            }
            (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
            (read, _) => panic!("{input}: {read:?}"),
        }
    }

    const CONSUMER: &str = r#""consumer":{"appId":"default","serviceName":"c","version":"1"}"#;

    #[test]
    fn bodies() {
        use DependencyWrite::{Add, Replace};
        let one = |members: &str| format!(r#"{{"dependencies":[{{{members}}}]}}"#);
        let whole = one(&format!(r#"{CONSUMER},"providers":[{{"serviceName":"p"}}],"override":5"#));
        check(Add, &whole, Ok(1));
        check(Replace, &whole, Ok(1));
        check(Add, &one(CONSUMER), Err("'AddDependenciesRequest.Dependencies[0].Providers'"));
        check(Replace, &one(CONSUMER), Ok(1));
        for none in ["{}", "null", r#"{"dependencies":null}"#, r#"{"dependencies":[]}"#] {
            check(Add, none, Err("'AddDependenciesRequest.Dependencies' invalid value '[]'"));
        }
        check(Replace, r#"{"dependencies":[null]}"#, Err("'CreateDependenciesRequest.Dependencies[0]'"));
        check(Replace, &one(""), Err("'CreateDependenciesRequest.Dependencies[0].Consumer'"));
        let provider = one(&format!(r#"{CONSUMER},"providers":[{{"serviceName":"p"}},null]"#));
        check(Add, &provider, Err("'AddDependenciesRequest.Dependencies[0].Providers[1]'"));
        check(Add, &one(r#""consumer":{"version":1}"#), Err("field 'dependencies[0].consumer.version'"));
    }
}
