//! The functions, operators and casts of a query, as Redshift means them.
//!
//! DataFusion's expressions know how to evaluate CASE, AND, IN, LIKE and comparisons over batches; what a function, an
//! operator or a cast *means* differs from system to system, so those are ours: each is a [`Call`] of a plain function from
//! arrays to an array. One that fails on a row fails the batch, and whoever evaluates it finds the row
//! ([`super::evaluate`]).
//!
//! A function that is not in [`find`] does not exist. So nothing volatile does: what a query gives for a record must be the
//! same whenever the record is read again.

pub mod arithmetic;
pub mod cast;
mod json;
pub mod logic;
mod pattern;
pub mod text;
mod time;

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray,
    builder::StringBuilder, cast::AsArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Schema};
use connectors::ColumnKind;
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::{PhysicalExpr, expressions::Literal};

use crate::values::arrow::arrow_type;

/// The longest text in Redshift, in bytes.
pub const LONGEST: u32 = 65_535;

/// The type of text whose length nothing limits further.
pub const TEXT: ColumnKind = ColumnKind::Varchar(LONGEST);

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
        let Some(arrow) = arrow_type(kind) else { return Err(format!("there are no values of type {kind}")) };
        match &self.kind {
            Kind::Null => {
                let null = ScalarValue::try_from(&arrow).map_err(|e| e.to_string())?;
                Ok(Typed::constant(null, kind.clone()))
            }
            Kind::Quoted(text) => {
                let Some(run) = cast::cast(&TEXT, kind) else { return Err(format!("a text is no {kind}")) };
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
        let value = value.ok_or_else(|| format!("{digits} is no number that a double holds"))?;
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

/// What a function does with its arguments, all of one length.
pub type Run = Arc<dyn Fn(&[ArrayRef]) -> Result<ArrayRef, String> + Send + Sync>;

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
    let arrow = arrow_type(&kind).unwrap_or(DataType::Null);
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
        // Of constants there is one row.
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

/// A function that queries may call.
pub struct Function {
    /// Its names.
    pub names: &'static [&'static str],
    /// How it is called.
    pub form: &'static str,
    /// Plans a call. An error is the reason why not.
    pub plan: fn(Arguments) -> Result<Typed, String>,
}

/// The function of this name, in lower case.
pub fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.names.contains(&name))
}

/// All functions.
pub fn all() -> impl Iterator<Item = &'static Function> {
    [text::FUNCTIONS, json::FUNCTIONS, time::FUNCTIONS, arithmetic::FUNCTIONS].into_iter().flatten()
}

/// Whether the first argument of a function is the name of a part of a time, which may stand without quotes.
pub fn time_part_first(name: &str) -> bool {
    time::PART_FIRST.contains(&name)
}

/// The arguments of a call that is being planned.
pub struct Arguments(pub Vec<Typed>);

impl Arguments {
    /// How many there are.
    fn len(&self) -> usize {
        self.0.len()
    }

    /// Refuses another number of them.
    pub fn count(&self, allowed: std::ops::RangeInclusive<usize>) -> Result<(), String> {
        match allowed.contains(&self.len()) {
            true => Ok(()),
            false => Err(format!("it has {} arguments", self.len())),
        }
    }

    fn get(&self, i: usize) -> Result<&Typed, String> {
        self.0.get(i).ok_or_else(|| format!("it has {} arguments", self.len()))
    }

    /// Argument `i`, which must be text.
    pub fn text(&self, i: usize) -> Result<Arc<dyn PhysicalExpr>, String> {
        let argument = self.get(i)?;
        match argument.known() {
            None | Some(ColumnKind::Varchar(_) | ColumnKind::Char(_)) => Ok(argument.clone().to(&TEXT)?.expr),
            Some(other) => Err(format!("argument {} is {other} and should be text: cast it", i + 1)),
        }
    }

    /// Argument `i`, which must be a whole number.
    pub fn integer(&self, i: usize) -> Result<Arc<dyn PhysicalExpr>, String> {
        let argument = self.get(i)?;
        match &argument.kind {
            Kind::Null | Kind::Known(ColumnKind::SmallInt | ColumnKind::Integer | ColumnKind::BigInt) => {
                Ok(argument.clone().to(&ColumnKind::BigInt)?.expr)
            }
            other => Err(format!("argument {} is {other} and should be a whole number", i + 1)),
        }
    }

    /// Takes the last one away if it is TRUE or FALSE.
    pub fn last_word(&mut self) -> Option<bool> {
        let last = self.0.last()?;
        let word = last.expr.to_string();
        if last.kind != Kind::Known(ColumnKind::Boolean) || (word != "true" && word != "false") {
            return None;
        }
        self.0.pop();
        Some(word == "true")
    }

    /// Argument `i`, which must be a text in quotes.
    pub fn quoted(&self, i: usize) -> Result<&str, String> {
        match &self.get(i)?.kind {
            Kind::Quoted(text) => Ok(text),
            other => Err(format!("argument {} is {other} and should be a text in quotes", i + 1)),
        }
    }
}

/// Whether each of the rows has all values.
fn nulls(arrays: &[ArrayRef]) -> Option<NullBuffer> {
    arrays.iter().fold(None, |nulls, array| NullBuffer::union(nulls.as_ref(), array.nulls()))
}

/// A column of values, one for each row in which no argument is NULL.
fn values<To: ArrowPrimitiveType>(
    arrays: &[ArrayRef],
    mut of: impl FnMut(usize) -> Result<Option<To::Native>, String>,
) -> Result<PrimitiveArray<To>, String> {
    let nulls = nulls(arrays);
    let rows = arrays.first().map_or(0, |array| array.len());
    let all = (0..rows).map(|row| match nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
        true => of(row),
        false => Ok(None),
    });
    all.collect()
}

/// A column of texts, one for each row in which no argument is NULL.
fn texts<'a>(
    arrays: &'a [ArrayRef],
    mut of: impl FnMut(usize) -> Result<Option<Cow<'a, str>>, String>,
) -> Result<ArrayRef, String> {
    let nulls = nulls(arrays);
    let rows = arrays.first().map_or(0, |array| array.len());
    let mut built = StringBuilder::with_capacity(rows, rows * 16);
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            built.append_null();
            continue;
        }
        let text = of(row)?;
        if let Some(text) = &text
            && text.len() > LONGEST as usize
        {
            return Err(format!("a text longer than any in Redshift: {} bytes", text.len()));
        }
        built.append_option(text);
    }
    Ok(Arc::new(built.finish()))
}

/// The text of an argument that was planned as text.
fn text_of(array: &ArrayRef, row: usize) -> &str {
    array.as_string::<i32>().value(row)
}

/// The number of an argument that was planned as a whole number.
fn integer_of(array: &ArrayRef, row: usize) -> i64 {
    array.as_primitive::<arrow_array::types::Int64Type>().value(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page lists each function with its form, and no other.
    #[test]
    fn the_page_on_queries_knows_every_function() {
        let page = include_str!("../../../../docs/sql.md");
        let listed: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(form, _)| form)).collect();
        for function in all() {
            assert!(listed.contains(&function.form), "{}", function.form);
        }
        // Four more are forms of CASE.
        assert_eq!(listed.len(), all().count() + 4, "{listed:?}");
    }

    #[test]
    fn names_are_unique_and_no_function_is_volatile() {
        let mut seen = std::collections::BTreeSet::new();
        for name in all().flat_map(|function| function.names) {
            assert!(seen.insert(name), "{name} twice");
        }
        for volatile in ["random", "getdate", "sysdate", "now", "current_timestamp", "timeofday"] {
            assert!(find(volatile).is_none(), "{volatile}");
        }
    }
}
