//! The expressions of a query, from their text to what is evaluated on batches.
//!
//! An allow-list: what this file does not know by name is refused, with its place and the nearest form that is known. Types
//! are settled here, once, by Redshift's rules; nothing is left to be guessed while records flow.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use connectors::ColumnKind;
use datafusion_common::ScalarValue;
use datafusion_expr::Operator as Compare;
use datafusion_physical_expr::{
    PhysicalExpr,
    expressions::{BinaryExpr, CaseExpr, Column, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr, in_list},
};
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, CeilFloorKind, Expr, Function as FunctionCall, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, TrimWhereField, UnaryOperator, Value,
};

use super::{
    functions::{self, Arguments, Function, Kind, TEXT, Typed, arithmetic, cast, interval, logic, text},
    input::{Input, SourceValue},
    lacking::{TIME_PARTS, TYPES, instead, nearest, steady},
    names::is_reserved,
    refusal::Refusal,
    source_text::SourceText,
};
use crate::values::arrow::arrow_type;

/// How deep expressions may be nested.
const EXPRESSION_DEPTH_MAX: usize = 64;
/// How many expressions there may be in one, once its short forms are written out.
const EXPRESSIONS_MAX: usize = 10_000;

/// A name that a query may use, and what it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The name, in lower case.
    pub name: String,
    /// What it stands for.
    pub input: Input,
    /// Its type.
    pub kind: ColumnKind,
}

/// Compiles the expressions of one query.
pub struct Compiler<'a> {
    names: &'a [Name],
    /// The stream and its alias, before a point.
    tables: [&'a str; 2],
    /// What the expressions so far look at, in the order of the schema.
    inputs: Vec<(Input, ColumnKind, String)>,
    /// How many more expressions there may be.
    left: usize,
}

impl<'a> Compiler<'a> {
    /// For a stream with these names, known as these tables.
    pub fn new(names: &'a [Name], tables: [&'a str; 2]) -> Compiler<'a> {
        Compiler { names, tables, inputs: Vec::new(), left: EXPRESSIONS_MAX }
    }

    /// What all compiled expressions look at: the columns of the batch that they are evaluated on, and its schema.
    pub fn inputs(&self) -> (Vec<Input>, Arc<Schema>) {
        (self.inputs.iter().map(|(input, ..)| *input).collect(), Arc::new(self.schema()))
    }

    fn schema(&self) -> Schema {
        let field = |(input, kind, name): &(Input, ColumnKind, String)| match is_bytes(*input) {
            Some(_) => Field::new(name, DataType::Binary, true),
            None => Field::new(name, arrow_type(kind).unwrap_or(DataType::Null), true),
        };
        Schema::new(self.inputs.iter().map(field).collect::<Vec<_>>())
    }

    /// A name of the stream.
    pub fn name(&self, expression: &Expr) -> Option<Result<Name, Refusal>> {
        let column = match expression {
            Expr::Identifier(column) => column,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] if self.tables.contains(&fold(table).as_str()) => column,
                parts => {
                    let column = parts.last().map_or(String::new(), |column| format!("write {column} alone"));
                    let what = format!("{expression} names a table that the query does not read");
                    return Some(Err(Refusal::of(expression, what, column)));
                }
            },
            _ => return None,
        };
        let folded = fold(column);
        let found = self.names.iter().find(|name| name.name == folded).cloned();
        if matches!(expression, Expr::Identifier(_))
            && column.quote_style.is_none()
            && is_reserved(&folded)
            && found.is_some()
        {
            let what = format!("{folded} is a reserved word in Redshift");
            return Some(Err(Refusal::span(column.span, what, format!("write \"{folded}\", with the quotes"))));
        }
        if found.is_none() && column.quote_style.is_none() && VOLATILE.contains(&folded.as_str()) {
            return Some(Err(no_function(expression, &folded)));
        }
        Some(found.ok_or_else(|| {
            let near = nearest(&folded, self.names.iter().map(|name| name.name.as_str()));
            Refusal::span(column.span, format!("there is no column {folded} in the stream"), near)
        }))
    }

    /// An expression as it will be evaluated.
    pub fn expression(&mut self, expression: &Expr) -> Result<Typed, Refusal> {
        self.at_depth(expression, 0)
    }

    /// A condition.
    pub fn condition(&mut self, expression: &Expr) -> Result<Arc<dyn PhysicalExpr>, Refusal> {
        self.boolean(expression, 0)
    }

    fn boolean(&mut self, expression: &Expr, depth: usize) -> Result<Arc<dyn PhysicalExpr>, Refusal> {
        let typed = self.at_depth(expression, depth)?;
        match typed.known() {
            None | Some(ColumnKind::Boolean) => {
                Ok(typed.to(&ColumnKind::Boolean).map_err(|why| Refusal::of(expression, why, ""))?.expr)
            }
            Some(other) => Err(Refusal::of(
                expression,
                format!("{expression} is {other} and not boolean"),
                "compare it with a value",
            )),
        }
    }

    /// What is made of constants alone is computed here, so that it fails before the job starts, or never.
    fn at_depth(&mut self, expression: &Expr, depth: usize) -> Result<Typed, Refusal> {
        let compiled = self.compiled(expression, depth)?;
        compiled.folded().map_err(|why| Refusal::of(expression, format!("{expression}: {why}"), ""))
    }

    fn compiled(&mut self, expression: &Expr, depth: usize) -> Result<Typed, Refusal> {
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(Refusal::of(
                expression,
                format!("expressions nested more than {EXPRESSION_DEPTH_MAX} deep"),
                "load the columns, and compute this in Redshift",
            ));
        }
        let Some(left) = self.left.checked_sub(1) else {
            return Err(Refusal::of(expression, "the query is too large", "split it over several targets"));
        };
        self.left = left;
        if let Some(name) = self.name(expression) {
            return Ok(self.column(name?));
        }
        let depth = depth + 1;
        let refuse = |why: String| Refusal::of(expression, why, "");
        match expression {
            Expr::Nested(inner) => self.at_depth(inner, depth),
            Expr::Value(value) => constant(&value.value).map_err(refuse),
            Expr::TypedString(typed) => {
                let kind = kind_of(&typed.data_type);
                let kind = kind.map_err(|why| Refusal::of(expression, why, near_type(&typed.data_type)))?;
                match &typed.value.value {
                    Value::SingleQuotedString(text) => Typed::quoted(text.clone()).to(&kind).map_err(refuse),
                    other => Err(refuse(format!("{other} is not a text in quotes"))),
                }
            }
            Expr::Interval(interval) => self.interval(interval).map_err(refuse),
            Expr::Cast { expr, data_type: sqlparser::ast::DataType::Interval { .. }, .. } => {
                match self.at_depth(expr, depth)?.kind {
                    Kind::Quoted(text) => interval::literal(&text, None, None, None).map_err(refuse),
                    other => Err(refuse(format!("{other} cannot be cast to interval: write n * interval '1 second'"))),
                }
            }
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => {
                let kind = kind_of(data_type).map_err(|why| {
                    Refusal::of(expression, why, near_type(data_type)).at_next(&first_word(data_type))
                })?;
                let typed = self.at_depth(expr, depth)?;
                explicit_cast(typed, &kind).map_err(refuse)
            }
            Expr::UnaryOp { op, expr } => self.unary(expression, op, expr, depth),
            Expr::BinaryOp { left, op, right } => self.binary(expression, left, op, right, depth),
            Expr::IsNull(inner) => {
                let inner = self.at_depth(inner, depth)?;
                Ok(Typed::new(Arc::new(IsNullExpr::new(SourceText::presence(&inner.expr))), ColumnKind::Boolean))
            }
            Expr::IsNotNull(inner) => {
                let inner = self.at_depth(inner, depth)?;
                Ok(Typed::new(is_there(&inner.expr), ColumnKind::Boolean))
            }
            Expr::IsTrue(inner) => self.is(inner, true, false, depth),
            Expr::IsNotTrue(inner) => self.is(inner, true, true, depth),
            Expr::IsFalse(inner) => self.is(inner, false, false, depth),
            Expr::IsNotFalse(inner) => self.is(inner, false, true, depth),
            Expr::Between { expr, negated, low, high } => {
                let value = self.at_depth(expr, depth)?;
                let (least, most) = (self.at_depth(low, depth)?, self.at_depth(high, depth)?);
                self.again(size(&value.expr)).map_err(refuse)?;
                let at = |bound| move |why: String| Refusal::of(bound, why, "");
                let above = compare(value.clone(), Compare::GtEq, least).map_err(at(low))?;
                let below = compare(value, Compare::LtEq, most).map_err(at(high))?;
                let both = logic::and(above.expr, below.expr);
                Ok(if *negated { not(both) } else { both })
            }
            Expr::InList { expr, list, negated } => {
                let value = self.at_depth(expr, depth)?;
                let items = list.iter().map(|item| self.at_depth(item, depth)).collect::<Result<Vec<_>, _>>()?;
                for (item, place) in items.iter().zip(list) {
                    compare(value.clone(), Compare::Eq, item.clone()).map_err(|why| Refusal::of(place, why, ""))?;
                }
                self.in_list(value, items, *negated).map_err(refuse)
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                let escape = escape_char.as_ref().map(|v| v.value.to_string());
                self.like(expression, (expr, pattern), *negated, false, escape, depth)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                let escape = escape_char.as_ref().map(|v| v.value.to_string());
                self.like(expression, (expr, pattern), *negated, true, escape, depth)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(expression, operand.as_deref(), conditions, else_result.as_deref(), depth)
            }
            Expr::Function(call) => self.function(expression, call, depth),
            Expr::Extract { field, expr, .. } => {
                let part = Typed::quoted(field.to_string());
                let time = self.at_depth(expr, depth)?;
                self.call(expression, "date_part", vec![part, time])
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let mut arguments = vec![self.at_depth(expr, depth)?];
                match substring_from {
                    Some(from) => arguments.push(self.at_depth(from, depth)?),
                    None => arguments.push(Typed::constant(ScalarValue::Int32(Some(1)), ColumnKind::Integer)),
                }
                if let Some(count) = substring_for {
                    arguments.push(self.at_depth(count, depth)?);
                }
                self.call(expression, "substring", arguments)
            }
            Expr::Position { expr, r#in } => {
                let (what, text) = (self.at_depth(expr, depth)?, self.at_depth(r#in, depth)?);
                self.call(expression, "strpos", vec![text, what])
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let mut arguments = vec![self.at_depth(expr, depth)?];
                if let Some(what) = trim_what {
                    arguments.push(self.at_depth(what, depth)?);
                }
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                self.call(expression, name, arguments)
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) } => {
                let argument = self.at_depth(expr, depth)?;
                self.call(expression, "ceil", vec![argument])
            }
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) } => {
                let argument = self.at_depth(expr, depth)?;
                self.call(expression, "floor", vec![argument])
            }
            other => Err(unknown(other)),
        }
    }

    /// `INTERVAL '1 day'`, `INTERVAL '1' DAY`.
    fn interval(&self, interval: &sqlparser::ast::Interval) -> Result<Typed, String> {
        let Expr::Value(value) = &*interval.value else {
            return Err("an interval is a text in quotes: write n * interval '1 day'".into());
        };
        let Value::SingleQuotedString(text) = &value.value else {
            return Err(format!("an interval is a text in quotes: write interval '{value} day'"));
        };
        let [from, to] =
            [&interval.leading_field, &interval.last_field].map(|field| field.as_ref().map(|f| f.to_string()));
        let digits = interval.fractional_seconds_precision.or(interval.leading_precision);
        interval::literal(text, from.as_deref(), to.as_deref(), digits)
    }

    fn column(&mut self, name: Name) -> Typed {
        let known = self.inputs.iter().position(|(input, ..)| *input == name.input);
        let place = known.unwrap_or_else(|| {
            self.inputs.push((name.input, name.kind.clone(), name.name.clone()));
            self.inputs.len() - 1
        });
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&name.name, place));
        match is_bytes(name.input) {
            Some(source) => Typed::new(Arc::new(SourceText::new(source, column)), name.kind),
            None => Typed::new(column, name.kind),
        }
    }

    fn unary(&mut self, whole: &Expr, op: &UnaryOperator, inner: &Expr, depth: usize) -> Result<Typed, Refusal> {
        match op {
            UnaryOperator::Not => Ok(not(Typed::new(self.boolean(inner, depth)?, ColumnKind::Boolean))),
            UnaryOperator::Plus => self.at_depth(inner, depth),
            UnaryOperator::Minus => {
                // A constant is one with its sign: the least bigint has no positive counterpart.
                if let Expr::Value(value) = inner
                    && let Value::Number(digits, false) = &value.value
                {
                    return constant(&Value::Number(format!("-{digits}"), false))
                        .map_err(|why| Refusal::of(whole, why, ""));
                }
                let inner = self.at_depth(inner, depth)?;
                if interval::is_interval(&inner) {
                    return Ok(interval::negated(inner));
                }
                let zero = match inner.known() {
                    Some(ColumnKind::Real) => Typed::constant(ScalarValue::Float32(Some(0.0)), ColumnKind::Real),
                    _ => Typed::constant(ScalarValue::Int16(Some(0)), ColumnKind::SmallInt),
                };
                arithmetic::operator(arithmetic::Operator::Minus, zero, inner)
                    .map_err(|why| Refusal::of(whole, why, ""))
            }
            other => Err(Refusal::of(whole, format!("{other} is not supported"), "")),
        }
    }

    fn binary(
        &mut self,
        whole: &Expr,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        depth: usize,
    ) -> Result<Typed, Refusal> {
        use arithmetic::Operator;
        let refuse = |why: String| Refusal::of(whole, why, "");
        let logical = matches!(op, BinaryOperator::And | BinaryOperator::Or).then_some(op);
        if let Some(op) = logical {
            let mut parts = chain(whole, op).into_iter();
            let Some(first) = parts.next() else { return Err(refuse("the operator has no sides".into())) };
            let mut all = Typed::new(self.boolean(first, depth)?, ColumnKind::Boolean);
            for part in parts {
                let part = self.boolean(part, depth)?;
                all = if *op == BinaryOperator::And { logic::and(all.expr, part) } else { logic::or(all.expr, part) };
            }
            return Ok(all);
        }
        if *op == BinaryOperator::StringConcat {
            let parts =
                chain(whole, op).into_iter().map(|part| self.at_depth(part, depth)).collect::<Result<_, _>>()?;
            return text::join(&Arguments(parts)).map_err(refuse);
        }
        // What is wrong is a text in quotes that is no such value, if there is one; else what is done with both.
        let sides = [left, right];
        let (left, right) = (self.at_depth(left, depth)?, self.at_depth(right, depth)?);
        let refuse = |why: String| match quoted(sides) {
            Some(text) => Refusal::of(text, why, ""),
            None => Refusal::operator(&op.to_string(), sides[1], why),
        };
        let number = match op {
            BinaryOperator::Plus => Some(Operator::Plus),
            BinaryOperator::Minus => Some(Operator::Minus),
            BinaryOperator::Multiply => Some(Operator::Times),
            BinaryOperator::Divide => Some(Operator::By),
            BinaryOperator::Modulo => Some(Operator::Modulo),
            _ => None,
        };
        if let Some(op) = number {
            return match interval::is_interval(&left) || interval::is_interval(&right) {
                true => interval::operator(op, left, right),
                false => arithmetic::operator(op, left, right),
            }
            .map_err(refuse);
        }
        let comparison = match op {
            BinaryOperator::Eq => Some(Compare::Eq),
            BinaryOperator::NotEq => Some(Compare::NotEq),
            BinaryOperator::Lt => Some(Compare::Lt),
            BinaryOperator::LtEq => Some(Compare::LtEq),
            BinaryOperator::Gt => Some(Compare::Gt),
            BinaryOperator::GtEq => Some(Compare::GtEq),
            _ => None,
        };
        if let Some(op) = comparison {
            return compare(left, op, right).map_err(refuse);
        }
        let (negated, any_case) = match op {
            BinaryOperator::PGRegexMatch => (false, false),
            BinaryOperator::PGRegexIMatch => (false, true),
            BinaryOperator::PGRegexNotMatch => (true, false),
            BinaryOperator::PGRegexNotIMatch => (true, true),
            other => {
                return Err(Refusal::operator(&op.to_string(), sides[1], format!("operator {other} is not supported")));
            }
        };
        let Kind::Quoted(pattern) = &right.kind else { return Err(refuse("a pattern is a text in quotes".into())) };
        let matched = text::matches(left, pattern, any_case).map_err(refuse)?;
        Ok(if negated { not(matched) } else { matched })
    }

    /// `IS TRUE` and its kin: never NULL.
    fn is(&mut self, inner: &Expr, value: bool, negated: bool, depth: usize) -> Result<Typed, Refusal> {
        let whole = inner;
        let inner = self.boolean(inner, depth)?;
        self.again(size(&inner)).map_err(|why| Refusal::of(whole, why, ""))?;
        let same = if value { inner.clone() } else { Arc::new(NotExpr::new(inner.clone())) as Arc<dyn PhysicalExpr> };
        let there = logic::and(Arc::new(IsNotNullExpr::new(inner)), same);
        Ok(if negated { not(there) } else { there })
    }

    fn in_list(&mut self, value: Typed, list: Vec<Typed>, negated: bool) -> Result<Typed, String> {
        let kind = shared(std::iter::once(&value).chain(&list))?;
        let constants = list.iter().all(|item| item.expr.downcast_ref::<Literal>().is_some());
        let float = matches!(kind, ColumnKind::Real | ColumnKind::Double);
        if !constants || float {
            // What is not a constant is looked at row by row; and a set of floats tells zero from minus zero.
            self.again(size(&value.expr) * list.len())?;
            let mut any: Option<Typed> = None;
            for item in list {
                let equal = compare(value.clone(), Compare::Eq, item)?;
                any = Some(match any {
                    None => equal,
                    Some(any) => logic::or(any.expr, equal.expr),
                });
            }
            let any = any.ok_or("IN () has no values")?;
            return Ok(if negated { not(any) } else { any });
        }
        let ready = |typed: Typed| comparable(typed, &kind).map(|typed| typed.expr);
        let value = ready(value)?;
        let list = list.into_iter().map(ready).collect::<Result<Vec<_>, _>>()?;
        let expr = in_list(value, list, &negated, &self.schema()).map_err(|e| e.strip_backtrace())?;
        Ok(Typed::new(expr, ColumnKind::Boolean))
    }

    fn like(
        &mut self,
        whole: &Expr,
        (value, pattern): (&Expr, &Expr),
        negated: bool,
        any_case: bool,
        escape: Option<String>,
        depth: usize,
    ) -> Result<Typed, Refusal> {
        if escape.is_some_and(|escape| escape != "'\\'" && escape != "'\\\\'") {
            return Err(Refusal::of(whole, "ESCAPE is not supported", "the escape is a backslash"));
        }
        let refuse = |why: String| Refusal::of(whole, why, "");
        let (value, pattern) = (self.at_depth(value, depth)?, self.at_depth(pattern, depth)?);
        let Kind::Quoted(pattern) = pattern.kind else { return Err(refuse("a pattern is a text in quotes".into())) };
        // Redshift's ILIKE knows the letters of ASCII alone.
        let (value, pattern) = match any_case {
            true => (text::small(value).map_err(refuse)?, pattern.to_ascii_lowercase()),
            false => (value, pattern),
        };
        let value = Arguments(vec![value]).text(0).map_err(refuse)?;
        let pattern = Typed::quoted(pattern).to(&TEXT).map_err(refuse)?;
        let like = LikeExpr::new(negated, false, value, pattern.expr);
        Ok(Typed::new(Arc::new(like), ColumnKind::Boolean))
    }

    fn case(
        &mut self,
        whole: &Expr,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        depth: usize,
    ) -> Result<Typed, Refusal> {
        let operand = operand.map(|operand| self.at_depth(operand, depth)).transpose()?;
        if let Some(operand) = &operand {
            let copies = size(&operand.expr) * conditions.len();
            self.again(copies).map_err(|why| Refusal::of(whole, why, ""))?;
        }
        let mut branches = Vec::new();
        for when in conditions {
            let condition = match &operand {
                None => self.boolean(&when.condition, depth)?,
                Some(operand) => {
                    let value = self.at_depth(&when.condition, depth)?;
                    let equal = compare(operand.clone(), Compare::Eq, value);
                    equal.map_err(|why| Refusal::of(&when.condition, why, ""))?.expr
                }
            };
            branches.push((condition, self.at_depth(&when.result, depth)?));
        }
        let results = conditions.iter().map(|when| &when.result).chain(otherwise);
        let place = quoted(results).unwrap_or(whole);
        let otherwise = otherwise.map(|otherwise| self.at_depth(otherwise, depth)).transpose()?;
        choose(branches, otherwise).map_err(|why| Refusal::of(place, why, ""))
    }

    fn function(&mut self, whole: &Expr, call: &FunctionCall, depth: usize) -> Result<Typed, Refusal> {
        let name = call.name.to_string().to_lowercase();
        let FunctionArguments::List(list) = &call.args else {
            return Err(no_function(whole, &name));
        };
        if call.over.is_some() || AGGREGATES.contains(&name.as_str()) {
            let what = format!("{name}() looks at several rows, and a query sees one at a time");
            return Err(Refusal::of(whole, what, "aggregate in Redshift"));
        }
        if VOLATILE.contains(&name.as_str()) {
            let what = format!("{name}() gives another answer whenever a record is read again");
            return Err(Refusal::of(whole, what, steady(&name)));
        }
        let plain = list.duplicate_treatment.is_none() && list.clauses.is_empty();
        if !plain || call.filter.is_some() || call.null_treatment.is_some() || !call.within_group.is_empty() {
            return Err(Refusal::of(whole, format!("this form of {name}() is not supported"), ""));
        }
        let mut arguments = Vec::new();
        for (place, argument) in list.args.iter().enumerate() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                return Err(Refusal::of(whole, format!("this form of {name}() is not supported"), ""));
            };
            // `day` in dateadd(day, ...) is not a column.
            if place == 0
                && functions::time_part_first(&name)
                && let Expr::Identifier(part) = argument
                && part.quote_style.is_none()
            {
                functions::check_time_part(&part.value).map_err(|why| {
                    let near = nearest(&part.value.to_lowercase(), TIME_PARTS.into_iter());
                    Refusal::span(part.span, format!("{name}(): {why}"), near)
                })?;
                arguments.push(Typed::quoted(part.value.clone()));
                continue;
            }
            arguments.push(self.at_depth(argument, depth)?);
        }
        let refuse = |why: String| Refusal::of(whole, why, "");
        let few = |least: usize, form: &str| match arguments.len() < least {
            true => Err(Refusal::of(
                whole,
                format!("{name}() takes at least {least} arguments, got {}", arguments.len()),
                format!("it is called {form}"),
            )),
            false => Ok(()),
        };
        match name.as_str() {
            "nvl" | "coalesce" => {
                few(1, "nvl(a, b, ...)")?;
                self.first_there(arguments).map_err(refuse)
            }
            "nvl2" => {
                few(3, "nvl2(a, if_there, if_null)")?;
                let [value, there, missing]: [Typed; 3] =
                    arguments.try_into().map_err(|_| refuse("nvl2() takes 3 arguments".into()))?;
                choose(vec![(is_there(&value.expr), there)], Some(missing)).map_err(refuse)
            }
            "nullif" => {
                few(2, "nullif(a, b)")?;
                let [a, b]: [Typed; 2] =
                    arguments.try_into().map_err(|_| refuse("nullif() takes 2 arguments".into()))?;
                self.again(size(&a.expr)).map_err(refuse)?;
                let equal = compare(a.clone(), Compare::Eq, b).map_err(refuse)?;
                let Some(kind) = a.known() else { return Ok(Typed::null()) };
                let null = Typed::null().to(&kind).map_err(refuse)?;
                choose(vec![(equal.expr, null)], Some(a)).map_err(refuse)
            }
            "decode" => {
                few(3, "decode(value, search, result [, search, result ...] [, default])")?;
                let copies = arguments.first().map_or(0, |value| size(&value.expr)) * arguments.len();
                self.again(copies).map_err(refuse)?;
                decode(arguments).map_err(refuse)
            }
            _ => self.call(whole, &name, arguments),
        }
    }

    fn first_there(&mut self, mut arguments: Vec<Typed>) -> Result<Typed, String> {
        let Some(last) = arguments.pop() else { return Ok(Typed::null()) };
        if arguments.is_empty() {
            return Ok(last);
        }
        let branch = |typed: Typed| (is_there(&typed.expr), typed);
        self.again(arguments.iter().map(|argument| size(&argument.expr)).sum())?;
        choose(arguments.into_iter().map(branch).collect(), Some(last))
    }

    /// What stands once in the query and is evaluated in several places counts there as well, or nesting would multiply it.
    fn again(&mut self, expressions: usize) -> Result<(), String> {
        self.left =
            self.left.checked_sub(expressions).ok_or("the query is too large: split it over several targets")?;
        Ok(())
    }

    fn call(&self, whole: &Expr, name: &str, arguments: Vec<Typed>) -> Result<Typed, Refusal> {
        let Some(Function { form, compile, .. }) = functions::find(name) else { return Err(no_function(whole, name)) };
        compile(Arguments(arguments))
            .map_err(|why| Refusal::of(whole, format!("{name}(): {why}"), format!("it is called {form}")))
    }
}

/// The parts of `a OR b OR c`, which the parser gives as `(a OR b) OR c`: however many there are, they are no deeper.
fn chain<'e>(whole: &'e Expr, op: &BinaryOperator) -> Vec<&'e Expr> {
    let mut parts = Vec::new();
    let mut rest = whole;
    while let Expr::BinaryOp { left, op: found, right } = rest
        && found == op
    {
        parts.push(&**right);
        rest = left;
    }
    parts.push(rest);
    parts.reverse();
    parts
}

/// Names are lower case in SQL, quoted or not, as in Redshift.
pub fn fold(ident: &Ident) -> String {
    ident.value.to_lowercase()
}

fn no_function(whole: &Expr, name: &str) -> Refusal {
    if AGGREGATES.contains(&name) || VOLATILE.contains(&name) {
        return Refusal::of(whole, format!("{name} is not a value of one record"), steady(name));
    }
    if let Some(help) = instead(name) {
        return Refusal::of(whole, format!("function {name} is not supported"), help);
    }
    let all =
        functions::all().flat_map(|f| f.names.iter().copied()).chain(["nvl", "coalesce", "nvl2", "nullif", "decode"]);
    Refusal::of(whole, format!("function {name} is not supported"), nearest(name, all))
}

const AGGREGATES: &[&str] = &[
    "any_value",
    "approximate",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "count",
    "listagg",
    "max",
    "median",
    "min",
    "percentile_cont",
    "row_number",
    "rank",
    "dense_rank",
    "lag",
    "lead",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
];

const VOLATILE: &[&str] = &[
    "current_date",
    "current_timestamp",
    "current_time",
    "current_user",
    "getdate",
    "now",
    "random",
    "sysdate",
    "timeofday",
    "localtime",
    "localtimestamp",
    "session_user",
    "user",
    "gen_random_uuid",
];

/// The one text in quotes among these, if it is one.
fn quoted<'e>(expressions: impl IntoIterator<Item = &'e Expr>) -> Option<&'e Expr> {
    let is_quoted = |expression: &&Expr| matches!(expression, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    let mut all = expressions.into_iter().filter(is_quoted);
    all.next().filter(|_| all.next().is_none())
}

/// The first word of a type.
fn first_word(data_type: &sqlparser::ast::DataType) -> String {
    data_type.to_string().split([' ', '(']).next().unwrap_or_default().into()
}

/// The type that may have been meant.
fn near_type(data_type: &sqlparser::ast::DataType) -> String {
    let word = first_word(data_type).to_lowercase();
    if TYPES.contains(&word.as_str()) { String::new() } else { nearest(&word, TYPES.into_iter()) }
}

/// Why a kind of expression is refused.
fn unknown(expression: &Expr) -> Refusal {
    let (what, help) = match expression {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            ("a subquery needs rows of other records", "join in Redshift")
        }
        Expr::SimilarTo { .. } => ("SIMILAR TO is not supported", "use LIKE or ~"),
        Expr::AtTimeZone { .. } => ("AT TIME ZONE is not supported", "use convert_timezone('UTC', 'zone', t)"),
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => {
            ("Redshift has no IS DISTINCT FROM", "use a = b OR (a IS NULL AND b IS NULL)")
        }
        Expr::Convert { .. } | Expr::Cast { .. } => ("this form of a cast is not supported", "use CAST(x AS type)"),
        Expr::CompoundFieldAccess { .. } | Expr::JsonAccess { .. } => {
            ("values inside of others are not supported here", "declare them as columns of the stream, with `path`")
        }
        Expr::Array(_) | Expr::Struct { .. } | Expr::Map(_) | Expr::Tuple(_) => {
            ("lists and structures are not supported", "")
        }
        _ => ("this expression is not supported", ""),
    };
    Refusal::of(expression, format!("{what}: {expression}"), help)
}

/// Of an input whose bytes become text where they are looked at, its name.
fn is_bytes(input: Input) -> Option<&'static str> {
    match input {
        Input::Source(SourceValue::Key) => Some("_key"),
        Input::Source(SourceValue::Headers) => Some("_headers"),
        _ => None,
    }
}

fn is_there(expr: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(IsNotNullExpr::new(SourceText::presence(expr)))
}

fn binary(left: Arc<dyn PhysicalExpr>, op: Compare, right: Arc<dyn PhysicalExpr>) -> Typed {
    Typed::new(Arc::new(BinaryExpr::new(left, op, right)), ColumnKind::Boolean)
}

fn not(typed: Typed) -> Typed {
    Typed::new(Arc::new(NotExpr::new(typed.expr)), ColumnKind::Boolean)
}

/// How many expressions it is made of.
fn size(expr: &Arc<dyn PhysicalExpr>) -> usize {
    1 + expr.children().into_iter().map(size).sum::<usize>()
}

/// The type that all of them can have; that of text in quotes and NULL is what the others say.
fn shared<'t>(all: impl Iterator<Item = &'t Typed> + Clone) -> Result<ColumnKind, String> {
    let mut found: Option<ColumnKind> = None;
    for typed in all.clone() {
        if let Kind::Known(kind) = &typed.kind {
            found = Some(match &found {
                None => kind.clone(),
                Some(other) => cast::common(other, kind)
                    .ok_or_else(|| format!("{other} and {kind} have no type in common: cast one of them"))?,
            });
        }
    }
    // Text in quotes beside text is as long as it is.
    for typed in all {
        if let (Kind::Quoted(_), Some(length)) = (&typed.kind, typed.known()) {
            found = Some(match found {
                None => length,
                Some(text @ (ColumnKind::Varchar(_) | ColumnKind::Char(_))) => {
                    cast::common(&text, &length).unwrap_or(TEXT)
                }
                Some(other) => other,
            });
        }
    }
    Ok(found.unwrap_or(TEXT))
}

/// The value as this type, as it is compared: of text without the blanks at its end.
fn comparable(typed: Typed, kind: &ColumnKind) -> Result<Typed, String> {
    let quoted = match &typed.kind {
        Kind::Quoted(text) => Some(text.clone()),
        _ => None,
    };
    match (kind, quoted) {
        (ColumnKind::Varchar(_) | ColumnKind::Char(_), Some(text)) => {
            Typed::quoted(text.trim_end_matches(' ').into()).to(&TEXT)
        }
        (ColumnKind::Varchar(_) | ColumnKind::Char(_), None) => text::without_blanks(typed.to(&TEXT)?).folded(),
        _ => typed.to(kind),
    }
}

fn compare(left: Typed, op: Compare, right: Typed) -> Result<Typed, String> {
    let (left, right) = (left.beside(&right)?, right.beside(&left)?);
    let kind = shared([&left, &right].into_iter())?;
    Ok(binary(comparable(left, &kind)?.expr, op, comparable(right, &kind)?.expr))
}

/// CASE: the first branch whose condition is true. A branch is evaluated for the rows that take it, and no others.
fn choose(branches: Vec<(Arc<dyn PhysicalExpr>, Typed)>, otherwise: Option<Typed>) -> Result<Typed, String> {
    let kind = shared(branches.iter().map(|(_, value)| value).chain(&otherwise))?;
    let as_kind = |typed: Typed| typed.to(&kind).map(|typed| typed.expr);
    let mut compiled = Vec::with_capacity(branches.len());
    for (condition, value) in branches {
        compiled.push((condition, as_kind(value)?));
    }
    let otherwise = otherwise.map(as_kind).transpose()?;
    let case = CaseExpr::try_new(None, compiled, otherwise).map_err(|e| e.strip_backtrace())?;
    Ok(Typed::new(Arc::new(case), kind))
}

/// `decode(value, search, result, ..., default)`, where NULL finds NULL.
fn decode(arguments: Vec<Typed>) -> Result<Typed, String> {
    let mut rest = arguments.into_iter();
    let Some(value) = rest.next() else { return Err("decode() has no arguments".into()) };
    let mut branches = Vec::new();
    let mut otherwise = None;
    while let Some(search) = rest.next() {
        let Some(result) = rest.next() else {
            otherwise = Some(search);
            break;
        };
        let both: Arc<dyn PhysicalExpr> = Arc::new(IsNullExpr::new(SourceText::presence(&value.expr)));
        let condition = match search.kind {
            Kind::Null => both,
            _ => {
                let missing = logic::and(both, Arc::new(IsNullExpr::new(SourceText::presence(&search.expr))));
                let equal = compare(value.clone(), Compare::Eq, search)?;
                logic::or(equal.expr, missing.expr).expr
            }
        };
        branches.push((condition, result));
    }
    choose(branches, otherwise)
}

fn constant(value: &Value) -> Result<Typed, String> {
    match value {
        Value::Null => Ok(Typed::null()),
        Value::Boolean(value) => Ok(Typed::constant(ScalarValue::Boolean(Some(*value)), ColumnKind::Boolean)),
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Ok(Typed::quoted(text.clone())),
        Value::Number(digits, false) => functions::number(digits),
        other => Err(format!("{other}: constants of this form are not supported")),
    }
}

/// A type of a cast.
fn kind_of(data_type: &sqlparser::ast::DataType) -> Result<ColumnKind, String> {
    let spelled = data_type.to_string();
    let bare = spelled.to_lowercase();
    match bare.as_str() {
        // As Redshift takes them without a length.
        "varchar" | "text" | "character varying" | "nvarchar" => return Ok(ColumnKind::Varchar(256)),
        "char" | "character" => return Ok(ColumnKind::Char(1)),
        "decimal" | "numeric" | "dec" => return Ok(ColumnKind::Decimal(18, 0)),
        _ => {}
    }
    match ColumnKind::parse(&spelled)? {
        ColumnKind::Other(_) => Err(format!("type {spelled} is not supported")),
        kind => Ok(kind),
    }
}

/// A cast that is written may also be of text to what no text is compared with, and cuts it.
fn explicit_cast(typed: Typed, kind: &ColumnKind) -> Result<Typed, String> {
    let Some(from) = typed.known() else { return typed.to(kind) };
    let Some(run) = cast::cast(&from, kind) else {
        let help = match (&from, kind) {
            (ColumnKind::Boolean, ColumnKind::Varchar(_) | ColumnKind::Char(_)) => {
                ": use CASE WHEN b THEN 'true' WHEN NOT b THEN 'false' END"
            }
            _ => "",
        };
        return Err(format!("a {from} cannot be cast to {kind}{help}"));
    };
    let expr = match &typed.kind {
        Kind::Quoted(text) => Typed::quoted(text.clone()).to(&TEXT)?.expr,
        _ => typed.expr,
    };
    Ok(functions::call(format!("cast {from} to {kind}"), vec![expr], kind.clone(), run))
}
