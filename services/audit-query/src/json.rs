//! Values out of JSON text, as answers can hold them.

use arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::prelude::Expr;
use datafusion_functions_json::JSON_UNION_DATA_TYPE;
use datafusion_functions_json::udfs::json_union_to_text_udf;

/// What `->` finds may be of any type, row by row, which neither Parquet nor JSON lines can
/// hold in one column. It leaves as JSON text, as Postgres shows it.
pub(crate) fn as_text(frame: DataFrame) -> Result<DataFrame> {
    let schema = frame.schema().clone();
    if !schema.fields().iter().any(|field| mixed(field.data_type())) {
        return Ok(frame);
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (column, field) in schema.columns().into_iter().zip(schema.fields()) {
        let name = field.name();
        let expression = Expr::Column(column);
        columns.push(match field.data_type() {
            found if *found == *JSON_UNION_DATA_TYPE => {
                json_union_to_text_udf().call(vec![expression]).alias(name)
            }
            found if mixed(found) => {
                return plan_err!(
                    "column `{name}` holds JSON values of mixed types; take them as text with ->>"
                );
            }
            _ => expression,
        });
    }
    frame.select(columns)
}

/// Whether values of several types stand side by side anywhere in it.
fn mixed(data_type: &DataType) -> bool {
    match data_type {
        DataType::Union(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => mixed(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| mixed(field.data_type())),
        DataType::Dictionary(_, value) => mixed(value),
        DataType::RunEndEncoded(_, values) => mixed(values.data_type()),
        _ => false,
    }
}
