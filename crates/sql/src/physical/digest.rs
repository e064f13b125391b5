//! The text of a plan that operator uids are made from, and by which equal parts are recognised.
//!
//! Invariants: it names everything that the rows of a plan depend on, so two plans of the same text give the same rows; and
//! it is written out here, by no `Debug` and no name that a user may change without changing rows, since a checkpoint
//! can be restored only while the texts of its operators stay as they are.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType as ArrowType, Decimal128Type, Float32Type, Float64Type};
use streamkeeper_connectors::schema::Field;

use crate::expr::ScalarExpr;
use crate::operators::keys::widen;
use crate::operators::spec::{AggregateCall, JoinKind, SortKey, WindowKind, WindowProperty};
use crate::plan::{Node, Plan, Table, Window, WindowSource};

/// Everything that the rows of `plan` depend on.
pub(super) fn digest(plan: &Plan) -> String {
    let inputs: Vec<String> = plan.inputs().into_iter().map(digest).collect();
    format!("{}({})", own(&plan.node), inputs.join(", "))
}

fn own(node: &Node) -> String {
    match node {
        Node::Scan { table, columns: read } => format!("Scan {} {}", table_text(table), columns(read)),
        Node::Values { rows } => format!("Values {}", list(rows.iter().map(|row| expressions(row)))),
        Node::Calc { filter, projection, .. } => {
            let filter = filter.as_ref().map_or_else(|| "-".to_owned(), expression);
            format!("Calc {filter} {}", expressions(projection))
        }
        Node::WindowTvf { time, window, keys, .. } => {
            format!("WindowTvf {time} {} {}", window_text(*window), columns(keys))
        }
        Node::Aggregate { keys, calls, .. } => format!("Aggregate {} {}", columns(keys), aggregates(calls)),
        Node::WindowAggregate { keys, calls, source, window, properties, .. } => {
            let source = match source {
                WindowSource::Attached { start, end } => format!("attached {start} {end}"),
                WindowSource::Time { column } => format!("time {column}"),
            };
            let properties = list(properties.iter().map(|property| property_name(*property).to_owned()));
            let (keys, calls) = (columns(keys), aggregates(calls));
            format!("WindowAggregate {keys} {calls} {source} {} {properties}", window_text(*window))
        }
        Node::RowNumber { partition, order, .. } => {
            format!("RowNumber {} {}", columns(partition), sort_keys(order))
        }
        Node::WindowRank { partition, start, end, order, rank_start, rank_end, output_rank, .. } => {
            let (partition, order) = (columns(partition), sort_keys(order));
            format!("WindowRank {partition} {start} {end} {order} {rank_start} {rank_end} {output_rank}")
        }
        Node::Join { kind, condition, .. } => {
            format!("Join {} {}", kind_name(*kind), expressions(condition))
        }
        Node::TemporalJoin { kind, condition, left_time, right_time, key, .. } => {
            let (kind, condition) = (kind_name(*kind), expressions(condition));
            format!("TemporalJoin {kind} {condition} {left_time} {right_time} {}", columns(key))
        }
        Node::LookupJoin { table, kind, condition, .. } => {
            format!("LookupJoin {} {} {}", kind_name(*kind), expressions(condition), digest(table))
        }
        Node::Deduplicate { keys, time, .. } => format!("Deduplicate {} {time}", columns(keys)),
        Node::Unnest { collection, outer, with_ordinality, .. } => {
            format!("Unnest {} {outer} {with_ordinality}", expression(collection))
        }
        Node::Union { .. } => "Union".to_owned(),
    }
}

/// A table and its options: which rows it has.
pub(super) fn table_text(table: &Table) -> String {
    let options = table.options.iter().map(|(key, value)| format!("{}={}", quoted(key), quoted(value)));
    format!("{} {}", quoted(&table.name()), list(options))
}

/// Names and types of columns.
pub(super) fn fields_text(fields: &[Field]) -> String {
    list(fields.iter().map(|field| format!("{} {}", quoted(&field.name), field.data_type)))
}

fn kind_name(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "inner",
        JoinKind::Left => "left",
        JoinKind::Right => "right",
        JoinKind::Full => "full",
        JoinKind::Semi => "semi",
        JoinKind::Anti => "anti",
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Its length tells where it ends, whatever is in it.
fn quoted(text: &str) -> String {
    format!("{}'{text}'", text.len())
}

fn columns(indices: &[usize]) -> String {
    list(indices.iter().map(ToString::to_string))
}

fn sort_keys(order: &[SortKey]) -> String {
    list(order.iter().map(|key| {
        let direction = if key.descending { "desc" } else { "asc" };
        let nulls = if key.nulls_first { "nulls-first" } else { "nulls-last" };
        format!("{} {direction} {nulls}", key.column)
    }))
}

fn aggregates(calls: &[AggregateCall]) -> String {
    list(calls.iter().map(|call| {
        let distinct = if call.distinct { "distinct " } else { "" };
        let filter = call.filter.map_or(String::new(), |column| format!(" filter {column}"));
        let args = list(call.args.iter().zip(&call.arg_types).map(|(arg, kind)| format!("{arg} {kind}")));
        format!("{}({distinct}{args}){filter}:{}", call.function.name(), call.data_type)
    }))
}

fn window_text(window: Window) -> String {
    let clock = if window.ltz { "ltz" } else { "local" };
    match window.kind {
        WindowKind::Tumble { size_ms, offset_ms } => format!("tumble {size_ms} {offset_ms} {clock}"),
        WindowKind::Hop { slide_ms, size_ms, offset_ms } => {
            format!("hop {slide_ms} {size_ms} {offset_ms} {clock}")
        }
        WindowKind::Cumulate { step_ms, max_size_ms, offset_ms } => {
            format!("cumulate {step_ms} {max_size_ms} {offset_ms} {clock}")
        }
        WindowKind::Session { gap_ms } => format!("session {gap_ms} {clock}"),
    }
}

fn property_name(property: WindowProperty) -> &'static str {
    match property {
        WindowProperty::Start => "start",
        WindowProperty::End => "end",
        WindowProperty::Time => "time",
    }
}

fn expressions(exprs: &[ScalarExpr]) -> String {
    list(exprs.iter().map(expression))
}

fn expression(expr: &ScalarExpr) -> String {
    match expr {
        ScalarExpr::Column { index, data_type, .. } => format!("${index}:{data_type}"),
        ScalarExpr::Literal { value, data_type } => {
            let mut text = String::new();
            literal(value.as_ref(), 0, &mut text);
            format!("{text}:{data_type}")
        }
        ScalarExpr::Call { function, args, data_type } => {
            format!("{function}{}:{data_type}", expressions(args))
        }
        ScalarExpr::Cast { input, data_type, try_cast } => {
            let cast = if *try_cast { "try-cast" } else { "cast" };
            format!("{cast}[{}]:{data_type}", expression(input))
        }
    }
}

/// A value by what it is made of: bits of floating-point numbers, units of decimals and times.
fn literal(array: &dyn Array, row: usize, text: &mut String) {
    if array.is_null(row) {
        text.push_str("null");
        return;
    }
    let one = array.slice(row, 1);
    if let Some(values) = widen(&one) {
        let _ = write!(text, "{}", values[0]);
        return;
    }
    let _ = match array.data_type() {
        ArrowType::Utf8 => write!(text, "{}", quoted(array.as_string::<i32>().value(row))),
        ArrowType::Binary => {
            array.as_binary::<i32>().value(row).iter().try_for_each(|byte| write!(text, "{byte:02x}"))
        }
        ArrowType::Decimal128(..) => write!(text, "{}", array.as_primitive::<Decimal128Type>().value(row)),
        ArrowType::Float32 => {
            write!(text, "{:08x}", array.as_primitive::<Float32Type>().value(row).to_bits())
        }
        ArrowType::Float64 => {
            write!(text, "{:016x}", array.as_primitive::<Float64Type>().value(row).to_bits())
        }
        ArrowType::List(_) => {
            elements(array.as_list::<i32>().value(row).as_ref(), text);
            Ok(())
        }
        ArrowType::Map(..) => {
            elements(&array.as_map().value(row), text);
            Ok(())
        }
        ArrowType::Struct(_) => {
            text.push('(');
            for column in array.as_struct().columns() {
                literal(column.as_ref(), row, text);
                text.push(' ');
            }
            text.push(')');
            Ok(())
        }
        // No other Arrow type holds a value of a Flink type.
        other => write!(text, "{other}"),
    };
}

fn elements(values: &dyn Array, text: &mut String) {
    text.push('[');
    for row in 0..values.len() {
        literal(values, row, text);
        text.push(' ');
    }
    text.push(']');
}
