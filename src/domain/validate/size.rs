//! Limits the size of instances and properties, whichever request writes them. The size is the number of bytes of the object's
//! shortest JSON, so an object is never larger than the body that it came in.

use serde::Serialize;

use crate::domain::Instance;
use crate::domain::json::{self, TextMap};
use crate::error::Error;

/// The configuration key of [`SizeLimits::instance`].
pub const INSTANCE_KEY: &str = "server.request.maxInstanceBytes";
/// The configuration key of [`SizeLimits::properties`].
pub const PROPERTIES_KEY: &str = "server.request.maxPropertiesBytes";

/// Most bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// An instance including its properties.
    pub instance: usize,
    /// The properties of a service, and properties that replace those of an instance.
    pub properties: usize,
}

impl Default for SizeLimits {
    fn default() -> Self {
        Self { instance: 5120, properties: 3072 }
    }
}

impl SizeLimits {
    /// 400001 for an instance that is too large.
    pub fn check_instance(&self, instance: &Instance) -> Result<(), Error> {
        check("the instance", instance, self.instance, INSTANCE_KEY)
    }

    /// 400001 for properties that are too large.
    pub fn check_properties(&self, properties: &TextMap) -> Result<(), Error> {
        check("the map of properties", properties, self.properties, PROPERTIES_KEY)
    }
}

fn check(what: &str, value: &impl Serialize, most: usize, key: &str) -> Result<(), Error> {
    let length = json::shortest_size(value);
    if length <= most {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} is too large: it has {length} bytes, at most {most} bytes are taken ({key})"
    )))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn detail(result: Result<(), Error>) -> Cow<'static, str> {
        result.err().map(|error| error.detail).unwrap_or_default()
    }

    #[test]
    fn the_limit_itself_passes() {
        let limits = SizeLimits { instance: 30, properties: 20 };
        let instance = |length: usize| Instance { host_name: "x".repeat(length), ..Instance::default() };
        // {"hostName":"…"}
        assert_eq!(limits.check_instance(&instance(30 - 15)), Ok(()));
        assert_eq!(
            detail(limits.check_instance(&instance(30 - 14))),
            "the instance is too large: it has 31 bytes, at most 30 bytes are taken (server.request.maxInstanceBytes)"
        );
        let properties = |value: &str| TextMap::from([("key".to_owned(), value.to_owned())]);
        // {"key":"…"}: a `<` counts as one byte, although the store holds its escape of six bytes.
        assert_eq!(limits.check_properties(&properties(&"<".repeat(20 - 10))), Ok(()));
        assert_eq!(
            detail(limits.check_properties(&properties(&"ä".repeat(10)))),
            "the map of properties is too large: it has 30 bytes, at most 20 bytes are taken \
             (server.request.maxPropertiesBytes)"
        );
    }
}
