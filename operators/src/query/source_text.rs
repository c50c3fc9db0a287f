//! `_key` and `_headers`, which are text where they are looked at: bytes that are not UTF-8 fail there, and nowhere else.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow_array::{RecordBatch, StringArray, cast::AsArray};
use arrow_schema::{DataType, Schema};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

/// The bytes of a column as text.
#[derive(Debug, Eq)]
pub struct SourceText {
    name: &'static str,
    bytes: Arc<dyn PhysicalExpr>,
}

/// Bytes that are not UTF-8.
#[derive(Debug)]
pub struct NotText {
    /// The column that has them.
    pub column: &'static str,
    /// The first byte that is none of a character.
    pub at: usize,
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not UTF-8: at byte {}", self.at)
    }
}

impl std::error::Error for NotText {}

impl SourceText {
    /// The text of a column of bytes that goes by this name.
    pub fn new(name: &'static str, bytes: Arc<dyn PhysicalExpr>) -> SourceText {
        SourceText { name, bytes }
    }

    /// What says whether an expression is NULL: of a text its bytes, which need not be read for that.
    pub fn presence(expr: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        expr.downcast_ref::<SourceText>().map_or(expr, |text| &text.bytes).clone()
    }
}

impl PartialEq for SourceText {
    fn eq(&self, other: &SourceText) -> bool {
        self.name == other.name && self.bytes.eq(&other.bytes)
    }
}

impl Hash for SourceText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.bytes.hash(state);
    }
}

impl fmt::Display for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PhysicalExpr for SourceText {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let bytes = self.bytes.evaluate(batch)?.into_array(batch.num_rows())?;
        let bytes = bytes.as_binary::<i32>();
        let (offsets, values, nulls) = bytes.clone().into_parts();
        if let Ok(texts) = StringArray::try_new(offsets, values, nulls) {
            return Ok(ColumnarValue::Array(Arc::new(texts)));
        }
        // A NULL may have bytes that are not text, and a slice others beside it.
        let texts = bytes.iter().map(|value| value.map(std::str::from_utf8).transpose());
        let texts = texts.collect::<std::result::Result<StringArray, _>>().map_err(|error| {
            DataFusionError::External(Box::new(NotText { column: self.name, at: error.valid_up_to() }))
        })?;
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.bytes]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 1]>::try_from(children) {
            Ok([bytes]) => Ok(Arc::new(SourceText { name: self.name, bytes })),
            Err(_) => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
