//! AND and OR, whose right side is evaluated only for the rows that it decides.
//!
//! So `x <> 0 AND 10 / x > 1` fails on no row: what stands before the division guards it. (DataFusion's own evaluates the
//! right side for all rows of a batch, or for none.)

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow_array::{Array, BooleanArray, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Schema};
use connectors::ColumnKind;
use datafusion_common::Result;
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

use super::typed::Typed;

/// `left AND right`, or `left OR right`, in three-valued logic.
#[derive(Debug, Eq)]
struct Logic {
    /// AND: a left side that is false decides. Else OR: one that is true.
    and: bool,
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
}

/// `left AND right`.
pub fn and(left: Arc<dyn PhysicalExpr>, right: Arc<dyn PhysicalExpr>) -> Typed {
    Typed::new(Arc::new(Logic { and: true, left, right }), ColumnKind::Boolean)
}

/// `left OR right`.
pub fn or(left: Arc<dyn PhysicalExpr>, right: Arc<dyn PhysicalExpr>) -> Typed {
    Typed::new(Arc::new(Logic { and: false, left, right }), ColumnKind::Boolean)
}

impl PartialEq for Logic {
    fn eq(&self, other: &Logic) -> bool {
        self.and == other.and && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Hash for Logic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.and.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl fmt::Display for Logic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, if self.and { "AND" } else { "OR" }, self.right)
    }
}

impl PhysicalExpr for Logic {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let left = self.left.evaluate(batch)?.into_array(rows)?;
        let left = left.as_boolean();
        let decides = !self.and;
        let open = |row: usize| left.is_null(row) || left.value(row) != decides;
        let selection = BooleanArray::from_iter((0..rows).map(|row| Some(open(row))));
        if !selection.has_true() {
            return Ok(ColumnarValue::Array(Arc::new(left.clone())));
        }
        let right = self.right.evaluate_selection(batch, &selection)?.into_array(rows)?;
        let right = right.as_boolean();
        let both = (0..rows).map(|row| {
            let (l, r) = (left.is_valid(row).then(|| left.value(row)), right.is_valid(row).then(|| right.value(row)));
            match (open(row), l, r) {
                (false, l, _) => l,
                (true, _, Some(r)) if r == decides => Some(decides),
                (true, Some(_), Some(_)) => Some(!decides),
                _ => None,
            }
        });
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from_iter(both))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(Logic { and: self.and, left, right })),
            Err(_) => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;
    use datafusion_physical_expr::expressions::Column;

    use super::*;

    #[test]
    fn three_values() {
        let three = [Some(true), Some(false), None];
        let pairs: Vec<(Option<bool>, Option<bool>)> = three.iter().flat_map(|l| three.map(|r| (*l, r))).collect();
        let column = |values: Vec<Option<bool>>| Arc::new(BooleanArray::from(values)) as arrow_array::ArrayRef;
        let (left, right) = pairs.iter().copied().unzip();
        let schema =
            Schema::new(vec![Field::new("l", DataType::Boolean, true), Field::new("r", DataType::Boolean, true)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![column(left), column(right)]).unwrap();
        let side = |name, place| Arc::new(Column::new(name, place)) as Arc<dyn PhysicalExpr>;
        let of = |typed: Typed| {
            let values = typed.expr.evaluate(&batch).unwrap().into_array(pairs.len()).unwrap();
            values.as_boolean().iter().collect::<Vec<_>>()
        };
        let (t, f, n) = (Some(true), Some(false), None);
        assert_eq!(of(and(side("l", 0), side("r", 1))), [t, f, n, f, f, f, n, f, n]);
        assert_eq!(of(or(side("l", 0), side("r", 1))), [t, t, t, t, f, n, t, n, n]);
    }
}
