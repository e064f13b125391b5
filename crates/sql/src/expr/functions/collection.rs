//! Arrays, maps and rows: what their functions take and give.
//!
//! Invariant: arrays of one call have the same element type, and an element that is looked for has it too.

use streamkeeper_connectors::schema::{DataType, Field, MAX_LENGTH, TypeKind};

use super::{Kernel, lists, maps};
use crate::expr::infer::{FunctionError, built, coerce, wrong_types};
use crate::expr::types::{common_type, is_binary, is_integer, is_string};
use crate::expr::{ScalarExpr, cast};

/// Name, fewest and most arguments, evaluation.
const FUNCTIONS: &[(&str, usize, usize, Kernel)] = &[
    ("ARRAY", 1, usize::MAX, lists::array),
    ("ARRAY_APPEND", 2, 2, |a| lists::concat(a, &[0, 1])),
    ("ARRAY_CONCAT", 1, usize::MAX, lists::concat_all),
    ("ARRAY_CONTAINS", 2, 2, lists::contains),
    ("ARRAY_DISTINCT", 1, 1, |a| lists::set(a, |_, _| true)),
    ("ARRAY_EXCEPT", 2, 2, |a| lists::set(a, |_, in_second| !in_second)),
    ("ARRAY_INTERSECT", 2, 2, |a| lists::set(a, |_, in_second| in_second)),
    ("ARRAY_JOIN", 2, 3, lists::join),
    ("ARRAY_MAX", 1, 1, |a| lists::extreme(a, true)),
    ("ARRAY_MIN", 1, 1, |a| lists::extreme(a, false)),
    ("ARRAY_POSITION", 2, 2, lists::position),
    ("ARRAY_PREPEND", 2, 2, |a| lists::concat(a, &[1, 0])),
    ("ARRAY_REMOVE", 2, 2, lists::remove),
    ("ARRAY_REVERSE", 1, 1, lists::reverse),
    ("ARRAY_SLICE", 2, 3, lists::slice),
    ("ARRAY_SORT", 1, 3, lists::sort),
    ("ARRAY_UNION", 2, 2, lists::union),
    ("CARDINALITY", 1, 1, maps::cardinality),
    ("ELEMENT", 1, 1, lists::element),
    ("ELT", 2, usize::MAX, lists::choose),
    ("FIELD", 2, 2, maps::field),
    ("ITEM", 2, 2, maps::item),
    ("MAP", 2, usize::MAX, maps::map),
    ("MAP_ENTRIES", 1, 1, |a| maps::parts(a, None)),
    ("MAP_FROM_ARRAYS", 2, 2, maps::from_arrays),
    ("MAP_KEYS", 1, 1, |a| maps::parts(a, Some(0))),
    ("MAP_UNION", 1, usize::MAX, maps::union),
    ("MAP_VALUES", 1, 1, |a| maps::parts(a, Some(1))),
    ("ROW", 1, usize::MAX, maps::row),
];

/// The names; elements and fields are taken by operators.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|f| f.0).filter(|name| !matches!(*name, "FIELD" | "ITEM"))
}

/// The evaluation of a function on collections.
pub(crate) fn kernel(name: &str) -> Option<Kernel> {
    FUNCTIONS.iter().find(|f| f.0 == name).map(|f| f.3)
}

/// The call of a function on collections, `None` when the name is of no such function.
pub(crate) fn call(name: &str, args: Vec<ScalarExpr>) -> Option<Result<ScalarExpr, FunctionError>> {
    let (name, least, most, _) = FUNCTIONS.iter().find(|f| f.0 == name)?;
    if !(*least..=*most).contains(&args.len()) {
        let expected = match *most {
            most if most == *least => least.to_string(),
            usize::MAX => format!("{least} or more"),
            most => format!("{least} to {most}"),
        };
        return Some(Err(FunctionError::Arguments { function: (*name).into(), expected, got: args.len() }));
    }
    let (coerced, data_type) = match infer(name, args.clone()) {
        Ok(Some(inferred)) => inferred,
        Ok(None) => return Some(Err(wrong_types(name, &args))),
        Err(error) => return Some(Err(error)),
    };
    Some(Ok(built(name, coerced, data_type)))
}

type Inferred = Option<(Vec<ScalarExpr>, DataType)>;

fn array_of(item: DataType) -> TypeKind {
    TypeKind::Array(Box::new(item))
}

fn item_of(arg: &ScalarExpr) -> Option<DataType> {
    match &arg.data_type().kind {
        TypeKind::Array(item) => Some((**item).clone()),
        _ => None,
    }
}

fn entry_of(arg: &ScalarExpr) -> Option<(DataType, DataType)> {
    match &arg.data_type().kind {
        TypeKind::Map(key, value) => Some(((**key).clone(), (**value).clone())),
        _ => None,
    }
}

/// All arguments as the least restrictive type of them.
fn unified(args: Vec<ScalarExpr>) -> Result<Inferred, FunctionError> {
    let types: Vec<_> = args.iter().map(|a| a.data_type().clone()).collect();
    let Some(common) = common_type(&types) else { return Ok(None) };
    let args = args.into_iter().map(|a| coerce(a, &common.kind)).collect::<Result<_, _>>()?;
    Ok(Some((args, common)))
}

fn all_of(args: &[ScalarExpr], holds: impl Fn(&TypeKind) -> bool) -> bool {
    args.iter().all(|a| a.data_type().kind == TypeKind::Null || holds(&a.data_type().kind))
}

/// `None` when the types are wrong.
fn infer(name: &str, mut args: Vec<ScalarExpr>) -> Result<Inferred, FunctionError> {
    let nullable = args.iter().any(|a| a.data_type().nullable);
    let first = args[0].data_type().clone();
    let typed = |kind: TypeKind, nullable: bool| DataType { kind, nullable };
    Ok(match name {
        "ARRAY" => unified(args)?.map(|(args, item)| (args, typed(array_of(item), false))),
        "MAP" => {
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            for (i, arg) in args.into_iter().enumerate() {
                (if i % 2 == 0 { &mut keys } else { &mut values }).push(arg);
            }
            if keys.len() != values.len() {
                return Err(FunctionError::Arguments {
                    function: name.into(),
                    expected: "an even number of".into(),
                    got: keys.len() + values.len(),
                });
            }
            let (Some((keys, key)), Some((values, value))) = (unified(keys)?, unified(values)?) else {
                return Ok(None);
            };
            let args = keys.into_iter().zip(values).flat_map(|(k, v)| [k, v]).collect();
            Some((args, typed(TypeKind::Map(Box::new(key), Box::new(value)), false)))
        }
        "ROW" => {
            let field =
                |(i, arg): (usize, &ScalarExpr)| Field::new(format!("EXPR${i}"), arg.data_type().clone());
            let fields = args.iter().enumerate().map(field).collect();
            Some((args, typed(TypeKind::Row(fields), false)))
        }
        "FIELD" => {
            let (TypeKind::Row(fields), ScalarExpr::Literal { value, .. }) = (&first.kind, &args[1]) else {
                return Ok(None);
            };
            let field = fields.iter().find(|f| maps::text(value) == Some(&f.name));
            field.map(|f| (args, typed(f.data_type.kind.clone(), nullable || f.data_type.nullable)))
        }
        "ELT" => {
            let choices = args.split_off(1);
            if !all_of(&args, is_integer) || !all_of(&choices, |k| is_string(k) || is_binary(k)) {
                return Ok(None);
            }
            let Some((choices, common)) = unified(choices)? else { return Ok(None) };
            let mut all = vec![coerce(args.remove(0), &TypeKind::BigInt)?];
            all.extend(choices);
            Some((all, typed(common.kind, true)))
        }
        "ITEM" => {
            let place = args.remove(1);
            let (wanted, result) = match (item_of(&args[0]), entry_of(&args[0])) {
                (Some(item), _) if all_of(std::slice::from_ref(&place), is_integer) => (TypeKind::Int, item),
                (_, Some((key, value))) => (key.kind, value),
                _ => return Ok(None),
            };
            let known = is_string(&wanted) == is_string(&place.data_type().kind);
            if !known && place.data_type().kind != TypeKind::Null {
                return Ok(None);
            }
            args.push(coerce(place, &wanted)?);
            Some((args, typed(result.kind, true)))
        }
        "CARDINALITY" => {
            let known = matches!(first.kind, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_));
            known.then_some((args, typed(TypeKind::Int, nullable)))
        }
        "ELEMENT" => {
            let Some(item) = item_of(&args[0]) else { return Ok(None) };
            Some((args, typed(item.kind, nullable || item.nullable)))
        }
        "MAP_KEYS" => entry_of(&args[0]).map(|(key, _)| (args, typed(array_of(key), nullable))),
        "MAP_VALUES" => entry_of(&args[0]).map(|(_, value)| (args, typed(array_of(value), nullable))),
        "MAP_ENTRIES" => entry_of(&args[0]).map(|(key, value)| {
            let entry = TypeKind::Row(vec![Field::new("key", key), Field::new("value", value)]);
            (args, typed(array_of(entry.into()), nullable))
        }),
        "MAP_FROM_ARRAYS" => {
            let (Some(key), Some(value)) = (item_of(&args[0]), item_of(&args[1])) else { return Ok(None) };
            Some((args, typed(TypeKind::Map(Box::new(key), Box::new(value)), nullable)))
        }
        "MAP_UNION" => {
            if entry_of(&args[0]).is_none() {
                return Ok(None);
            }
            unified(args)?
        }
        _ => return infer_array(name, args, nullable),
    })
}

fn infer_array(name: &str, mut args: Vec<ScalarExpr>, nullable: bool) -> Result<Inferred, FunctionError> {
    let first = args[0].data_type().clone();
    let Some(item) = item_of(&args[0]) else { return Ok(None) };
    let typed = |kind: TypeKind, nullable: bool| DataType { kind, nullable };
    Ok(match name {
        "ARRAY_DISTINCT" | "ARRAY_REVERSE" => Some((args, first)),
        "ARRAY_MAX" | "ARRAY_MIN" => Some((args, typed(item.kind, true))),
        "ARRAY_SLICE" | "ARRAY_SORT" => {
            let kind = if name == "ARRAY_SORT" { TypeKind::Boolean } else { TypeKind::Int };
            let known = all_of(&args[1..], |k| *k == kind || (kind == TypeKind::Int && is_integer(k)));
            if !known {
                return Ok(None);
            }
            let rest = args.split_off(1);
            for arg in rest {
                args.push(coerce(arg, &kind)?);
            }
            Some((args, first.with_nullable(nullable)))
        }
        "ARRAY_JOIN" => {
            if !is_string(&item.kind) || !all_of(&args[1..], is_string) {
                return Ok(None);
            }
            let string = TypeKind::Varchar(MAX_LENGTH);
            let rest = args.split_off(1);
            for arg in rest {
                args.push(coerce(arg, &string)?);
            }
            Some((args, typed(string, nullable)))
        }
        "ARRAY_CONTAINS" | "ARRAY_POSITION" | "ARRAY_REMOVE" => {
            let wanted = args.remove(1);
            let pair = [item.clone(), wanted.data_type().clone()];
            let Some(common) = common_type(&pair) else { return Ok(None) };
            let array = coerce(args.remove(0), &array_of(common.clone()))?;
            args.push(array);
            args.push(coerce(wanted, &common.kind)?);
            let data_type = match name {
                "ARRAY_CONTAINS" => typed(TypeKind::Boolean, first.nullable),
                "ARRAY_POSITION" => typed(TypeKind::Int, nullable),
                _ => first,
            };
            Some((args, data_type))
        }
        "ARRAY_APPEND" | "ARRAY_PREPEND" => {
            let added = args.remove(1);
            let item = DataType { nullable: item.nullable || added.data_type().nullable, kind: item.kind };
            let same = added.data_type().kind == item.kind;
            args.push(if same { added } else { cast(added, item.clone(), false)? });
            Some((args, typed(array_of(item), nullable)))
        }
        // ARRAY_CONCAT, ARRAY_EXCEPT, ARRAY_INTERSECT, ARRAY_UNION
        _ => {
            if !all_of(&args, |k| matches!(k, TypeKind::Array(_))) {
                return Ok(None);
            }
            unified(args)?
        }
    })
}
