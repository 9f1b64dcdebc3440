//! Every form: what comes back, what is refused, and that nothing depends on the batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use countersign_domain::archive::{Level, Row};
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::Value;

use super::*;
use crate::{output, table};

/// Breaks lines, fields, quotes, formulas and the reading direction.
const HOSTILE: &str = "=cmd|' /C calc'!A0\r\n\"x\",\u{202e}evil\u{2066}\0\\end";

fn schema() -> SchemaRef {
    let fields: Vec<Field> = table::schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8View => field.as_ref().clone().with_data_type(DataType::Utf8),
            _ => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let mut decoder = arrow::json::ReaderBuilder::new(schema())
        .build_decoder()
        .unwrap();
    decoder.serialize(rows).unwrap();
    decoder.flush().unwrap().unwrap()
}

fn row(seq: i64) -> Row {
    Row {
        stream: "CS_EVENTS".to_owned(),
        incarnation: "abc".to_owned(),
        seq,
        leaf_index: seq,
        time: format!("2026-11-22T10:00:0{seq}.000001Z").parse().unwrap(),
        event: "policy.checked".to_owned(),
        level: Level::Request,
        purpose: Some(HOSTILE.to_owned()),
        reason_codes: vec![HOSTILE.to_owned(), "b".to_owned()],
        output_summary: Some(String::new()),
        duration_ms: Some(-5),
        ..Row::default()
    }
}

fn key() -> TrailKey {
    let secret = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    TrailKey::from_pem(&secret.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap()
}

fn plan(form: Form) -> Plan {
    match form {
        Form::Aat => Plan::Trail(key(), "test".to_owned()),
        other => Plan::Plain(other),
    }
}

fn exported(form: Form, batches: &[RecordBatch]) -> Vec<u8> {
    let mut export = Export::new(plan(form), &schema(), Vec::new()).unwrap();
    for batch in batches {
        export.write(batch).unwrap();
    }
    export.finish().unwrap()
}

fn objects(form: Form, batches: &[RecordBatch]) -> Vec<Value> {
    let text = String::from_utf8(exported(form, batches)).unwrap();
    text.split_terminator('\n')
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn hostile_texts_come_back_as_they_were() {
    let batches = [batch(&[row(1), row(2)]), batch(&[row(3)])];
    let json = objects(Form::Json, &batches);
    assert_eq!(json.len(), 3);
    assert_eq!(json[2]["purpose"], HOSTILE);
    assert_eq!(json[2]["reason_codes"][0], HOSTILE);
    assert_eq!(json[0]["time"], "2026-11-22T10:00:01.000001Z");
    assert!(json[0]["intent_id"].is_null());
    let read: Row = serde_json::from_value(json[1].clone()).unwrap();
    assert_eq!(read, row(2));
    let ocsf = objects(Form::Ocsf, &batches);
    assert_eq!(ocsf.len(), 3);
    assert_eq!(ocsf[1]["unmapped"]["purpose"], HOSTILE);
    let records = objects(Form::Aat, &batches);
    assert_eq!(records.len(), 5);
    assert_eq!(records[3]["action_detail"]["purpose"], HOSTILE);
    assert_eq!(records[3]["batch"]["tree_size"], 5);
    assert_eq!(records[4]["action_detail"]["rows"], 3);
    let parquet = output::read_parquet(Bytes::from(exported(Form::Parquet, &batches))).unwrap();
    let back: Vec<Row> = parquet
        .batches
        .iter()
        .flat_map(|batch| columns::rows(batch).unwrap())
        .collect();
    assert_eq!(back, [row(1), row(2), row(3)]);
    for field in parquet.schema.fields() {
        let expected = schema()
            .field_with_name(field.name())
            .unwrap()
            .data_type()
            .clone();
        assert_eq!(*field.data_type(), expected, "typed as the archive's");
    }
}

/// A reader of RFC 4180: quotes, and line ends inside them.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut line, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.push(chars.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut field)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                line.push(std::mem::take(&mut field));
                lines.push(std::mem::take(&mut line));
            }
            other => field.push(other),
        }
    }
    assert!(line.is_empty() && field.is_empty() && !quoted);
    lines
}

#[test]
fn csv_is_rfc_4180_and_runs_in_no_spreadsheet() {
    let text = String::from_utf8(exported(Form::Csv, &[batch(&[row(1)])])).unwrap();
    let lines = read_csv(&text);
    assert_eq!(lines.len(), 2);
    let cell = |name: &str| {
        let place = lines[0].iter().position(|head| head == name).unwrap();
        lines[1][place].as_str()
    };
    assert_eq!(cell("purpose"), format!("'{HOSTILE}"));
    let codes: Vec<String> = serde_json::from_str(cell("reason_codes")).unwrap();
    assert_eq!(codes, [HOSTILE, "b"]);
    assert_eq!(cell("duration_ms"), "-5", "a number is a number");
    assert_eq!(cell("time"), "2026-11-22T10:00:01.000001Z");
    assert_eq!(cell("truncated"), "false");
    assert_eq!(cell("intent_id"), "");
    assert!(
        text.contains(",\"\","),
        "an empty text is not an absent one"
    );
}

#[test]
fn nothing_selected_is_an_empty_export_of_its_form() {
    assert_eq!(exported(Form::Json, &[]), b"");
    assert_eq!(exported(Form::Ocsf, &[]), b"");
    let head = String::from_utf8(exported(Form::Csv, &[])).unwrap();
    assert!(head.starts_with("stream,incarnation,seq,") && head.ends_with("schema_version\r\n"));
    let read = output::read_parquet(Bytes::from(exported(Form::Parquet, &[]))).unwrap();
    assert_eq!(
        (read.rows(), read.schema.fields().len()),
        (0, schema().fields().len())
    );
    let records = objects(Form::Aat, &[]);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["action_detail"]["rows"], 0);
}

#[test]
fn the_same_rows_have_the_same_bytes_in_whatever_batches_they_come() {
    let (one, two) = (batch(&[row(1)]), batch(&[row(2)]));
    let both = batch(&[row(1), row(2)]);
    for form in Form::ALL {
        assert_eq!(form.as_str().parse(), Ok(*form));
        let apart = exported(*form, &[one.clone(), two.clone()]);
        assert_eq!(
            apart,
            exported(*form, std::slice::from_ref(&both)),
            "{form:?}"
        );
    }
    assert!("xml".parse::<Form>().is_err());
}

#[test]
fn forms_made_of_whole_rows_refuse_others_by_name() {
    let refused = |form: Form, schema: &SchemaRef| {
        let export = Export::new(plan(form), schema, Vec::new());
        export
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let mut fields = schema().fields().to_vec();
    fields.push(Arc::new(Field::new("n", DataType::Int64, true)));
    let more = Arc::new(Schema::new(fields.clone()));
    fields.pop();
    fields.remove(2);
    let fewer = Arc::new(Schema::new(fields.clone()));
    fields.push(Arc::new(Field::new("seq", DataType::Utf8, false)));
    let other = Arc::new(Schema::new(fields));
    for form in [Form::Ocsf, Form::Aat] {
        assert!(refused(form, &more).starts_with("n is no column of `events`"));
        assert!(refused(form, &fewer).starts_with("the column seq is missing"));
        assert!(refused(form, &other).starts_with("the column seq is not that of"));
        assert_eq!(refused(form, &table::schema()), "");
    }
    for form in [Form::Json, Form::Csv, Form::Parquet] {
        assert_eq!(refused(form, &more), "");
    }
    let unsigned = Export::new(Plan::Plain(Form::Aat), &schema(), Vec::new());
    assert!(unsigned.is_err());
}

#[test]
fn any_answer_has_a_csv_and_json_form() {
    let columns: [(&str, ArrayRef); 3] = [
        ("=n", Arc::new(Int64Array::from(vec![Some(-1), None]))),
        ("mean", Arc::new(Float64Array::from(vec![-1.5, 2.0]))),
        ("word", Arc::new(StringArray::from(vec!["+1", "a"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut export = Export::new(Plan::Plain(Form::Csv), &batch.schema(), Vec::new()).unwrap();
    export.write(&batch).unwrap();
    assert_eq!(export.rows(), 2);
    let text = String::from_utf8(export.finish().unwrap()).unwrap();
    assert_eq!(text, "\"'=n\",mean,word\r\n-1,-1.5,\"'+1\"\r\n,2.0,a\r\n");
}

#[test]
fn rows_that_go_back_in_time_make_no_trail() {
    let mut export = Export::new(plan(Form::Aat), &schema(), Vec::new()).unwrap();
    let error = export.write(&batch(&[row(2), row(1)])).unwrap_err();
    assert!(
        error.to_string().contains("ORDER BY time, leaf_index"),
        "{error}"
    );
}
