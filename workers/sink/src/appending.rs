//! Columns that grow row by row and go into DuckDB as Arrow record batches.
//!
//! A column in which no row has a value is left out of the batch: the appender then fills in NULL by itself,
//! which costs less than passing nulls one by one.

use std::sync::Arc;

use duckdb::Connection;
use duckdb::arrow::array::{
    ArrayBuilder, ArrayRef, ArrowPrimitiveType, BinaryBuilder, Int32Builder, MapBuilder, PrimitiveArray,
    PrimitiveBuilder, StringBuilder, UInt64Builder,
};
use duckdb::arrow::datatypes::{DataType, Field, Schema};
use duckdb::arrow::record_batch::RecordBatch;

/// A text column with nulls.
#[derive(Default)]
pub(crate) struct TextColumn {
    builder: StringBuilder,
    /// Leading nulls, not in the builder yet.
    nulls: usize,
}

impl TextColumn {
    pub(crate) fn push(&mut self, value: Option<&str>) {
        match value {
            Some(value) => {
                self.flush_nulls();
                self.builder.append_value(value);
            }
            None => self.nulls += 1,
        }
    }

    fn flush_nulls(&mut self) {
        for _ in 0..std::mem::take(&mut self.nulls) {
            self.builder.append_null();
        }
    }

    /// The column, unless all of it is null; starts the next.
    pub(crate) fn take(&mut self) -> Option<ArrayRef> {
        if ArrayBuilder::is_empty(&self.builder) {
            self.nulls = 0;
            return None;
        }
        self.flush_nulls();
        Some(Arc::new(self.builder.finish()))
    }
}

/// A column of numbers with nulls.
pub(crate) struct NumberColumn<T: ArrowPrimitiveType> {
    builder: PrimitiveBuilder<T>,
    nulls: usize,
}

impl<T: ArrowPrimitiveType> Default for NumberColumn<T> {
    fn default() -> Self {
        NumberColumn {
            builder: PrimitiveBuilder::new(),
            nulls: 0,
        }
    }
}

impl<T: ArrowPrimitiveType> NumberColumn<T> {
    /// The column, with a type that has parameters.
    pub(crate) fn with_type(data_type: DataType) -> Self {
        NumberColumn {
            builder: PrimitiveBuilder::new().with_data_type(data_type),
            nulls: 0,
        }
    }

    pub(crate) fn push(&mut self, value: Option<T::Native>) {
        match value {
            Some(value) => {
                self.flush_nulls();
                self.builder.append_value(value);
            }
            None => self.nulls += 1,
        }
    }

    fn flush_nulls(&mut self) {
        self.builder.append_nulls(std::mem::take(&mut self.nulls));
    }

    /// The column, unless all of it is null; starts the next.
    pub(crate) fn take(&mut self) -> Option<ArrayRef> {
        if self.builder.values_slice().is_empty() {
            self.nulls = 0;
            return None;
        }
        self.flush_nulls();
        Some(Arc::new(self.builder.finish()))
    }
}

/// A column of maps from index to count, with nulls.
pub(crate) struct MapColumn {
    builder: MapBuilder<Int32Builder, UInt64Builder>,
    has_value: bool,
}

impl Default for MapColumn {
    fn default() -> Self {
        MapColumn {
            builder: MapBuilder::new(None, Int32Builder::new(), UInt64Builder::new()),
            has_value: false,
        }
    }
}

impl MapColumn {
    pub(crate) fn push(&mut self, entries: Option<impl Iterator<Item = (i32, u64)>>) {
        let is_some = entries.is_some();
        for (key, value) in entries.into_iter().flatten() {
            self.builder.keys().append_value(key);
            self.builder.values().append_value(value);
        }
        self.has_value |= is_some;
        // Fails only where keys and values differ in number.
        let appended = self.builder.append(is_some);
        debug_assert!(appended.is_ok(), "{appended:?}");
    }

    /// The column, unless all of it is null; starts the next.
    pub(crate) fn take(&mut self) -> Option<ArrayRef> {
        let column = self.builder.finish();
        std::mem::take(&mut self.has_value).then(|| Arc::new(column) as ArrayRef)
    }
}

/// A column of bytes without nulls.
#[derive(Default)]
pub(crate) struct BytesColumn(BinaryBuilder);

impl BytesColumn {
    pub(crate) fn push(&mut self, value: &[u8]) {
        self.0.append_value(value);
    }

    pub(crate) fn take(&mut self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.finish()))
    }
}

/// A column of numbers without nulls; starts the next.
pub(crate) fn numbers<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>) -> Option<ArrayRef> {
    let capacity = values.len();
    let values = std::mem::replace(values, Vec::with_capacity(capacity));
    Some(Arc::new(PrimitiveArray::<T>::new(values.into(), None)))
}

/// Named columns; those without a value anywhere are absent.
pub(crate) type Columns = Vec<(&'static str, Option<ArrayRef>)>;

/// Appends the columns to a table, within the caller's transaction.
pub(crate) fn append(connection: &Connection, table: &str, columns: Columns) -> anyhow::Result<()> {
    let (names, arrays): (Vec<&str>, Vec<ArrayRef>) = columns
        .into_iter()
        .filter_map(|(name, array)| array.map(|array| (name, array)))
        .unzip();
    let fields: Vec<Field> = names
        .iter()
        .zip(&arrays)
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let mut appender = connection.appender_with_columns(table, &names)?;
    appender.append_record_batch(batch)?;
    appender.flush()?;
    Ok(())
}
