//! What the plans of one job have in common is done once.
//!
//! Invariant: two parts with the same [digest](super::digest) give the same rows, and are made once.

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_connectors::schema::Field;

use super::digest::{digest, table_text};
use crate::optimizer::calc_over;
use crate::plan::{Column, Node, Plan, column};

/// Makes all scans of a table read the same columns: those that any of them, or the watermark, needs.
pub(super) fn widen_scans(plans: &mut [&mut Plan]) {
    let mut needed: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for plan in plans.iter() {
        collect(plan, &mut needed);
    }
    for plan in plans {
        **plan = widen(plan.clone(), &needed);
    }
}

fn collect(plan: &Plan, needed: &mut BTreeMap<String, BTreeSet<usize>>) {
    if let Node::Scan { table, columns } = &plan.node {
        let all = needed.entry(table_text(table)).or_default();
        all.extend(columns);
        if let Some(watermark) = &table.watermark {
            all.extend(watermark.expression.columns());
        }
        if all.is_empty() && !table.physical.is_empty() {
            all.insert(0);
        }
    }
    for input in plan.inputs() {
        collect(input, needed);
    }
}

fn widen(plan: Plan, needed: &BTreeMap<String, BTreeSet<usize>>) -> Plan {
    let schema = plan.schema;
    match plan.node {
        Node::Scan { table, columns } => {
            let Some(all) = needed.get(&table_text(&table)) else {
                return Plan { node: Node::Scan { table, columns }, schema };
            };
            let wide: Vec<usize> = all.iter().copied().collect();
            let fields: Vec<Field> = table.scanned().cloned().collect();
            let wide_schema: Vec<Column> = wide
                .iter()
                .map(|c| Column::new(fields[*c].name.clone(), fields[*c].data_type.clone()))
                .collect();
            let projection = columns
                .iter()
                .map(|c| column(&wide_schema, wide.iter().position(|w| w == c).unwrap_or(0)))
                .collect();
            let scan = Plan { node: Node::Scan { table, columns: wide }, schema: wide_schema };
            calc_over(scan, None, projection, schema)
        }
        Node::Calc { input, filter, projection } => {
            calc_over(widen(*input, needed), filter, projection, schema)
        }
        node => Plan { node, schema }.map_inputs(&mut |input| widen(input, needed)),
    }
}

/// How often each part is used. What is inside of a shared part counts once.
pub(super) fn count_uses<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    for plan in plans {
        count(plan, &mut uses);
    }
    uses
}

fn count(plan: &Plan, uses: &mut BTreeMap<String, usize>) {
    let seen = uses.entry(digest(plan)).or_default();
    *seen += 1;
    if *seen == 1 {
        for input in plan.inputs() {
            count(input, uses);
        }
    }
}
