//! What the codec needs of an `.avsc` file, read once per process.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::headers::{HeaderBuilder, RabinFingerprintHeader};
use serde_json::{Map, Value};

use crate::events::{ALL, Event};

/// One of our own schema files is broken; a test keeps this from ever being released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema of `{event}` is broken: {reason}")]
pub struct SchemaError {
    event: String,
    reason: String,
}

/// The shape of a value, as far as the encodings differ.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Boolean,
    Int,
    Long,
    /// Microseconds in Avro, RFC 3339 in JSON.
    Time,
    Text,
    /// A string in Avro, an object in JSON.
    Json,
    Words(Vec<String>),
    List(Box<Shape>),
    /// A union of null and one more.
    Optional(Box<Shape>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) class: Option<String>,
    /// Whether a writer may leave it out because it is an empty list.
    pub(crate) empty_by_default: bool,
    pub(crate) shape: Shape,
}

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shape: Shape,
    /// Magic and fingerprint: what every Avro body of this schema starts with.
    pub(crate) header: Vec<u8>,
}

static PLANS: LazyLock<HashMap<&'static str, Result<Plan, SchemaError>>> = LazyLock::new(|| {
    ALL.iter()
        .map(|(event, avsc)| (*event, Plan::compile(event, avsc)))
        .collect()
});

impl Plan {
    /// The compiled schema of an event.
    pub(crate) fn of<E: Event>() -> Result<&'static Self, SchemaError> {
        Self::named(E::NAME)
    }

    /// The compiled schema of the event with this name.
    pub(crate) fn named(event: &str) -> Result<&'static Self, SchemaError> {
        match PLANS.get(event) {
            Some(plan) => plan.as_ref().map_err(SchemaError::clone),
            None => Err(SchemaError {
                event: event.chars().take(64).collect(),
                reason: "there is no such event".to_owned(),
            }),
        }
    }

    fn compile(event: &str, avsc: &str) -> Result<Self, SchemaError> {
        let broken = |reason| SchemaError {
            event: event.to_owned(),
            reason,
        };
        let json: Value = serde_json::from_str(avsc).map_err(|error| broken(error.to_string()))?;
        let schema = Schema::parse(&without_logical_types(&json))
            .map_err(|error| broken(error.to_string()))?;
        let header = RabinFingerprintHeader::from_schema(&schema).build_header();
        let shape = Compiler::default().shape(&json).map_err(broken)?;
        Ok(Self { shape, header })
    }
}

/// The schema with `{"type": "long", "logicalType": …}` written `"long"`.
///
/// The parsing canonical form says so; the library's keeps `{"type": "long"}` and would give
/// a fingerprint that other readers do not know.
fn without_logical_types(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => match map.get("type").filter(|_| map.contains_key("logicalType")) {
            Some(primitive) => primitive.clone(),
            None => map
                .iter()
                .map(|(key, value)| (key.clone(), without_logical_types(value)))
                .collect(),
        },
        Value::Array(items) => items.iter().map(without_logical_types).collect(),
        other => other.clone(),
    }
}

/// Walks an `.avsc`, remembering the named types it has seen.
#[derive(Default)]
struct Compiler {
    named: BTreeMap<String, Shape>,
}

impl Compiler {
    fn shape(&mut self, schema: &Value) -> Result<Shape, String> {
        match schema {
            Value::String(name) => self.by_name(name),
            Value::Array(variants) => self.optional(variants),
            Value::Object(schema) => self.complex(schema),
            _ => Err("a type is neither name, union nor object".to_owned()),
        }
    }

    fn by_name(&self, name: &str) -> Result<Shape, String> {
        match name {
            "boolean" => Ok(Shape::Boolean),
            "int" => Ok(Shape::Int),
            "long" => Ok(Shape::Long),
            "string" => Ok(Shape::Text),
            other => self
                .named
                .get(other)
                .cloned()
                .ok_or_else(|| format!("type `{other}` is not supported or not defined above")),
        }
    }

    fn optional(&mut self, variants: &[Value]) -> Result<Shape, String> {
        match variants {
            [Value::String(null), some] if null == "null" => {
                Ok(Shape::Optional(Box::new(self.shape(some)?)))
            }
            _ => Err("a union is not `null` and one more type".to_owned()),
        }
    }

    fn complex(&mut self, schema: &Map<String, Value>) -> Result<Shape, String> {
        let word = |key: &str| schema.get(key).and_then(Value::as_str);
        let kind = word("type").ok_or("a type object has no `type`")?;
        let shape = match (kind, word("logicalType")) {
            ("long", Some("timestamp-micros")) => Shape::Time,
            ("string", Some("json")) => Shape::Json,
            ("array", None) => {
                let items = schema.get("items").ok_or("an array has no `items`")?;
                Shape::List(Box::new(self.shape(items)?))
            }
            ("enum", None) => Shape::Words(words(schema)?),
            ("record", None) => Shape::Record(self.fields(schema)?),
            (other, None) => self.by_name(other)?,
            (_, Some(logical)) => return Err(format!("logical type `{logical}` is not supported")),
        };
        if let Some(name) = word("name") {
            self.named.insert(name.to_owned(), shape.clone());
        }
        Ok(shape)
    }

    fn fields(&mut self, schema: &Map<String, Value>) -> Result<Vec<Field>, String> {
        let fields = schema
            .get("fields")
            .and_then(Value::as_array)
            // An empty record takes no bytes: a list of them would have no bound.
            .filter(|fields| !fields.is_empty())
            .ok_or("a record has no fields")?;
        fields.iter().map(|field| self.field(field)).collect()
    }

    fn field(&mut self, field: &Value) -> Result<Field, String> {
        let name = field
            .get("name")
            .and_then(Value::as_str)
            .ok_or("a field has no name")?;
        let schema = field
            .get("type")
            .ok_or_else(|| format!("field `{name}` has no type"))?;
        let shape = self
            .shape(schema)
            .map_err(|reason| format!("field `{name}`: {reason}"))?;
        let class = field.get("class").and_then(Value::as_str);
        Ok(Field {
            name: name.to_owned(),
            class: class.map(str::to_owned),
            empty_by_default: field
                .get("default")
                .and_then(Value::as_array)
                .is_some_and(Vec::is_empty),
            shape,
        })
    }
}

fn words(schema: &Map<String, Value>) -> Result<Vec<String>, String> {
    let symbols = schema.get("symbols").and_then(Value::as_array);
    symbols
        .ok_or("an enum has no `symbols`")?
        .iter()
        .map(|symbol| symbol.as_str().map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| "an enum has a symbol that is not a text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_compiles() {
        for (event, _) in ALL {
            let plan = Plan::named(event).unwrap();
            assert!(matches!(plan.shape, Shape::Record(_)), "{event}");
            assert_eq!(plan.header.len(), 10, "{event}");
        }
    }

    #[test]
    fn what_the_codec_cannot_carry_is_refused_in_words() {
        let field = |schema: &str| {
            let avsc = format!(
                r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{schema}}}]}}"#
            );
            Plan::compile("x", &avsc).unwrap_err().to_string()
        };
        assert!(field(r#""double""#).contains("field `f`: type `double` is not supported"));
        assert!(field(r#"["string","null"]"#).contains("`null` and one more"));
        assert!(field(r#"{"type":"int","logicalType":"date"}"#).contains("`date`"));
        assert!(field(r#"{"type":"record","name":"E","fields":[]}"#).contains("no fields"));
        assert!(Plan::named("tool.imagined").is_err());
    }

    #[test]
    fn a_named_type_can_be_used_again() {
        let avsc = r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":{"type":"enum","name":"W","symbols":["x","y"]}},
            {"name":"b","type":["null","W"],"default":null}]}"#;
        let Shape::Record(fields) = Plan::compile("x", avsc).unwrap().shape else {
            panic!("a record");
        };
        let word = Shape::Words(vec!["x".to_owned(), "y".to_owned()]);
        assert_eq!(fields[0].shape, word);
        assert_eq!(fields[1].shape, Shape::Optional(Box::new(word)));
    }
}
