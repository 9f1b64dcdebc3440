//! The files of the archive below SQL: pages as they were before compression, statistics,
//! indexes and footers, and the filters that say what a file may hold.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use arrow::array::AsArray as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;

use super::places::Places;

/// What a search of bytes can read: with any other encoding a value could stand in parts.
const READABLE: [Encoding; 3] = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY];

/// Adds all that the Parquet files beneath `dir` hold; how many there are.
pub(crate) fn parquet(dir: &Path, places: &mut Places) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += parquet(&path, places);
        } else if path.extension().is_some_and(|ending| ending == "parquet") {
            one(&path, places);
            count += 1;
        }
    }
    count
}

fn one(path: &Path, places: &mut Places) {
    let name = path.display().to_string();
    // Footer, statistics, page indexes and what the file says of itself are not compressed.
    places.push(name.clone(), std::fs::read(path).unwrap());
    let filters = ReaderProperties::builder()
        .set_read_bloom_filter(true)
        .build();
    let options = ReadOptionsBuilder::new()
        .with_page_index()
        .with_reader_properties(filters)
        .build();
    let file = File::open(path).unwrap();
    let reader = SerializedFileReader::new_with_options(file, options).unwrap();
    for (group, about) in reader.metadata().row_groups().iter().enumerate() {
        let rows = reader.get_row_group(group).unwrap();
        for (column, about) in about.columns().iter().enumerate() {
            let place = format!("{name}, column {}", about.column_path());
            assert!(
                about.encodings().all(|how| READABLE.contains(&how)),
                "{place}"
            );
            for page in rows.get_column_page_reader(column).unwrap() {
                places.push(place.clone(), page.unwrap().buffer().to_vec());
            }
            if let Some(filter) = rows.get_column_bloom_filter(column) {
                let cells = cells(path, group, column);
                assert_eq!(bits(filter), bits(&of(filter, &cells)), "{place}");
            }
        }
    }
}

/// The texts of one column, which other places are searched for.
fn cells(path: &Path, group: usize, column: usize) -> BTreeSet<String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mask = ProjectionMask::leaves(builder.parquet_schema(), [column]);
    let batches = builder
        .with_row_groups(vec![group])
        .with_projection(mask)
        .build()
        .unwrap();
    let mut cells = BTreeSet::new();
    for batch in batches {
        let batch = batch.unwrap();
        let texts = batch.column(0).as_string::<i32>();
        cells.extend(texts.iter().flatten().map(str::to_owned));
    }
    cells
}

/// A filter of the same size that holds exactly these values: a value that stands in no cell
/// stands in no filter, whatever the filter answers by chance.
fn of(filter: &Sbbf, cells: &BTreeSet<String>) -> Sbbf {
    const BLOCK_BYTES: usize = 32;
    let mut same = Sbbf::new(&vec![0; filter.num_blocks() * BLOCK_BYTES]);
    for cell in cells {
        same.insert(cell.as_str());
    }
    same
}

fn bits(filter: &Sbbf) -> Vec<u8> {
    let mut bits = Vec::new();
    filter.write_bitset(&mut bits).unwrap();
    bits
}
