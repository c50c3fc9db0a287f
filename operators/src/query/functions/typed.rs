//! Expressions with their types, and calls of our own among them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{DataType, Schema};
use connectors::ColumnKind;
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::{PhysicalExpr, expressions::Literal};

use super::{
    cast,
    kinds::{TEXT, held_as, interval},
    run::Run,
};
use crate::values::arrow::arrow_type;

/// An expression and its type.
#[derive(Clone, Debug)]
pub struct Typed {
    /// The expression.
    pub expr: Arc<dyn PhysicalExpr>,
    /// Its type.
    pub kind: Kind,
}

/// The type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// This one.
    Known(ColumnKind),
    /// A text in quotes, which becomes what its place asks for.
    Quoted(String),
    /// NULL, which may be anything.
    Null,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Known(kind) => kind.fmt(f),
            Kind::Quoted(_) => f.write_str("a text"),
            Kind::Null => f.write_str("NULL"),
        }
    }
}

impl Typed {
    /// An expression of a known type.
    pub fn new(expr: Arc<dyn PhysicalExpr>, kind: ColumnKind) -> Typed {
        Typed { expr, kind: Kind::Known(kind) }
    }

    /// NULL.
    pub fn null() -> Typed {
        Typed { expr: Arc::new(Literal::new(ScalarValue::Null)), kind: Kind::Null }
    }

    /// A text in quotes.
    pub fn quoted(text: String) -> Typed {
        Typed { expr: Arc::new(Literal::new(ScalarValue::Utf8(Some(text.clone())))), kind: Kind::Quoted(text) }
    }

    /// A constant of a type.
    pub fn constant(value: ScalarValue, kind: ColumnKind) -> Typed {
        Typed::new(Arc::new(Literal::new(value)), kind)
    }

    /// The same as a value of this type: a constant is read, anything else is cast.
    pub fn to(self, kind: &ColumnKind) -> Result<Typed, String> {
        let Some(arrow) = arrow_type(kind) else {
            let help = if *kind == interval() { ": add it to a time" } else { "" };
            return Err(format!("there are no values of type {kind}{help}"));
        };
        match &self.kind {
            Kind::Null => {
                let null = ScalarValue::try_from(&arrow).map_err(|e| e.to_string())?;
                Ok(Typed::constant(null, kind.clone()))
            }
            Kind::Quoted(text) => {
                let Some(run) = cast::cast(&TEXT, kind) else { return Err(format!("a text is not of type {kind}")) };
                let value = run(&[Arc::new(StringArray::from(vec![text.as_str()]))])?;
                Ok(Typed::constant(ScalarValue::try_from_array(&value, 0).map_err(|e| e.to_string())?, kind.clone()))
            }
            Kind::Known(from) if arrow_type(from).as_ref() == Some(&arrow) => {
                Ok(Typed { kind: Kind::Known(kind.clone()), ..self })
            }
            Kind::Known(from) => match cast::cast(from, kind) {
                Some(run) => call(format!("cast to {kind}"), vec![self.expr], kind.clone(), run).folded(),
                None => Err(format!("a {from} cannot become a {kind}")),
            },
        }
    }

    /// A text in quotes that stands beside a decimal is a number of its own, digit for digit; beside bytes it is all its bytes.
    pub fn beside(&self, other: &Typed) -> Result<Typed, String> {
        match (&self.kind, &other.kind) {
            (Kind::Quoted(text), Kind::Known(ColumnKind::Decimal(..))) => number(text.trim_matches(' ')),
            (Kind::Quoted(text), Kind::Known(ColumnKind::Varbyte(_))) => {
                self.clone().to(&ColumnKind::Varbyte((text.len() as u32).max(1)))
            }
            _ => Ok(self.clone()),
        }
    }

    /// A constant, if it is made of constants alone; then it fails here, or never.
    pub fn folded(self) -> Result<Typed, String> {
        let children = self.expr.children();
        if children.is_empty() || !children.iter().all(|child| child.downcast_ref::<Literal>().is_some()) {
            return Ok(self);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
        let value = one.map_err(|e| e.to_string()).and_then(|one| {
            let value = self.expr.evaluate(&one).and_then(|value| value.into_array(1));
            value.and_then(|value| ScalarValue::try_from_array(&value, 0)).map_err(|e| match e {
                DataFusionError::Execution(reason) => reason,
                other => other.strip_backtrace(),
            })
        })?;
        Ok(Typed { expr: Arc::new(Literal::new(value)), kind: self.kind })
    }

    /// Its type; a text in quotes is text.
    pub fn known(&self) -> Option<ColumnKind> {
        match &self.kind {
            Kind::Known(kind) => Some(kind.clone()),
            Kind::Quoted(text) => Some(ColumnKind::Varchar((text.len() as u32).max(1))),
            Kind::Null => None,
        }
    }
}

/// A number has the smallest type that holds it, from integer on; with a point it is a decimal.
pub fn number(digits: &str) -> Result<Typed, String> {
    if let Ok(value) = digits.parse::<i32>() {
        return Ok(Typed::constant(ScalarValue::Int32(Some(value)), ColumnKind::Integer));
    }
    if let Ok(value) = digits.parse::<i64>() {
        return Ok(Typed::constant(ScalarValue::Int64(Some(value)), ColumnKind::BigInt));
    }
    if digits.contains(['e', 'E']) {
        let value = digits.parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.ok_or_else(|| format!("{digits} is not a number that a double holds"))?;
        return Ok(Typed::constant(ScalarValue::Float64(Some(value)), ColumnKind::Double));
    }
    let (whole, fraction) = digits.trim_start_matches('-').split_once('.').unwrap_or((digits, ""));
    let scale = fraction.len();
    let precision = (whole.trim_start_matches(['-', '0']).len() + scale).max(1);
    if precision > 38 || scale > 37 {
        return Err(format!("{digits} has more digits than any decimal"));
    }
    Typed::quoted(digits.into()).to(&ColumnKind::Decimal(precision as u8, scale as u8))
}

/// A function and its arguments.
pub struct Call {
    /// With everything that it was made with, so that two of one name are the same.
    name: String,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    kind: DataType,
    run: Run,
}

/// A call that gives this type.
pub fn call(name: impl Into<String>, arguments: Vec<Arc<dyn PhysicalExpr>>, kind: ColumnKind, run: Run) -> Typed {
    let arrow = held_as(&kind).unwrap_or(DataType::Null);
    Typed::new(Arc::new(Call { name: name.into(), arguments, kind: arrow, run }), kind)
}

impl PartialEq for Call {
    fn eq(&self, other: &Call) -> bool {
        self.name == other.name && self.kind == other.kind && self.arguments == other.arguments
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.kind.hash(state);
        self.arguments.hash(state);
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (i, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{argument}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

impl PhysicalExpr for Call {
    fn data_type(&self, _: &Schema) -> datafusion_common::Result<DataType> {
        Ok(self.kind.clone())
    }

    fn nullable(&self, _: &Schema) -> datafusion_common::Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> datafusion_common::Result<ColumnarValue> {
        let values: Vec<ColumnarValue> =
            self.arguments.iter().map(|argument| argument.evaluate(batch)).collect::<Result<_, _>>()?;
        // A constant has one row.
        let constant = values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { batch.num_rows() };
        let arrays: Vec<ArrayRef> = values.into_iter().map(|value| value.into_array(rows)).collect::<Result<_, _>>()?;
        let result = (self.run)(&arrays).map_err(DataFusionError::Execution)?;
        if constant {
            return ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(result))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.arguments.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
    ) -> datafusion_common::Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Call { name: self.name.clone(), arguments, kind: self.kind.clone(), run: self.run.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
