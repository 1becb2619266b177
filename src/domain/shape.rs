//! The shape of a type's JSON, as a constant of the type. The description of the API is made of these constants, so it comes
//! from the same declarations that read and write the values.

use std::collections::BTreeMap;

/// What a JSON value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// A 32-bit integer.
    Integer,
    /// A 64-bit integer.
    Long,
    /// A number that may have a fraction.
    Number,
    /// `true` or `false`.
    Flag,
    /// An array whose elements have this shape.
    List(&'static Shape),
    /// An object whose members have any names and this shape.
    Map(&'static Shape),
    Object(ObjectShape),
}

/// An object with members that its type declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectShape {
    /// Name of the Rust type.
    pub name: &'static str,
    /// Doc comment of the type.
    pub about: &'static str,
    /// Members in the order in which they are written.
    pub members: &'static [MemberShape],
}

/// A member of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberShape {
    /// Name in the JSON.
    pub name: &'static str,
    /// Doc comment of the member.
    pub about: &'static str,
    pub shape: Shape,
}

/// A type whose shape is known. `json_object!` implements it.
pub trait Shaped {
    const SHAPE: Shape;
}

impl Shaped for String {
    const SHAPE: Shape = Shape::Text;
}

impl Shaped for i32 {
    const SHAPE: Shape = Shape::Integer;
}

impl Shaped for i64 {
    const SHAPE: Shape = Shape::Long;
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
        pub struct ShapeSample {
            /// Names.
            "Names" => names: Vec<Option<String>>,
            /// Pairs.
            "pairs" => pairs: TextMap,
        }
    }

    #[test]
    fn a_declared_object_describes_itself() {
        let Shape::Object(object) = ShapeSample::SHAPE else { panic!("no object") };
        assert_eq!((object.name, object.about.trim()), ("ShapeSample", "A sample of two lines."));
        let members: Vec<_> = object.members.iter().map(|member| (member.name, member.shape)).collect();
        assert_eq!(members, [("Names", Shape::List(&Shape::Text)), ("pairs", Shape::Map(&Shape::Text))]);
    }
}
