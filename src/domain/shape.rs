//! What a JSON value looks like, as a constant of its type: for the description of the API, which is thereby made of the same
//! declarations that read and write the values. Pure; knows no HTTP.

use std::collections::BTreeMap;

/// A type's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// A number without fraction, 32 bit.
    Integer,
    /// `true` or `false`.
    Flag,
    /// An array.
    List(&'static Shape),
    /// An object with free names.
    Map(&'static Shape),
    /// An object with known names.
    Object(ObjectShape),
}

/// An object with known names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectShape {
    /// Name of the type.
    pub name: &'static str,
    /// What it is, as its documentation says.
    pub about: &'static str,
    /// Its members in wire order.
    pub members: &'static [MemberShape],
}

/// A member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberShape {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it is, as its documentation says.
    pub about: &'static str,
    /// Its value.
    pub shape: Shape,
}

/// A type with a shape. `json_object!` gives each of its types one.
pub trait Shaped {
    /// The shape.
    const SHAPE: Shape;
}

impl Shaped for String {
    const SHAPE: Shape = Shape::Text;
}

impl Shaped for i32 {
    const SHAPE: Shape = Shape::Integer;
}

impl Shaped for bool {
    const SHAPE: Shape = Shape::Flag;
}

impl<T: Shaped> Shaped for Option<T> {
    const SHAPE: Shape = T::SHAPE;
}

impl<T: Shaped> Shaped for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);
}

impl<T: Shaped> Shaped for BTreeMap<String, T> {
    const SHAPE: Shape = Shape::Map(&T::SHAPE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json::TextMap;
    use crate::json_object;

    json_object! {
        /// A sample
        /// of two lines.
        pub struct Sample {
            /// Names.
            "Names" => names: Vec<Option<String>>,
            /// Pairs.
            "pairs" => pairs: TextMap,
        }
    }

    #[test]
    fn a_declared_object_describes_itself() {
        let Shape::Object(object) = Sample::SHAPE else { panic!("no object") };
        assert_eq!((object.name, object.about.trim()), ("Sample", "A sample of two lines."));
        let members: Vec<_> = object.members.iter().map(|member| (member.name, member.shape)).collect();
        assert_eq!(members, [("Names", Shape::List(&Shape::Text)), ("pairs", Shape::Map(&Shape::Text))]);
    }
}
