//! The code that is derived: one column at a time, each call typed by the field.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result, Type};

use crate::attributes::{FieldAttributes, crate_path};

struct Column<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    name: String,
    attributes: FieldAttributes,
}

pub(crate) fn record(input: &DeriveInput) -> Result<TokenStream> {
    let columns = columns(input)?;
    let record = crate_path(&input.attrs)?;
    let name = &input.ident;
    let rowtime = columns.iter().position(|c| c.attributes.rowtime);
    let keys = columns.iter().enumerate().filter(|(_, c)| c.attributes.key).map(|(i, _)| i);
    let fields = columns.iter().map(|c| field(c, &record));
    let writes = columns.iter().enumerate().map(|(i, c)| {
        let (ident, ty) = (c.ident, c.ty);
        quote! {
            #record::derive::write::<#ty>(records.clone().map(|r| r.map(|r| &r.#ident)), &fields[#i])?
        }
    });
    let readers: Vec<Ident> = (0..columns.len()).map(|i| format_ident!("column_{i}")).collect();
    let reader_types = columns.iter().map(|c| {
        let ty = c.ty;
        quote!(<#ty as #record::FieldValue>::Reader)
    });
    let opens = columns.iter().map(|c| {
        let (ty, name) = (c.ty, &c.name);
        quote!(#record::derive::reader::<#ty>(cells, #name)?)
    });
    let reads = columns.iter().zip(&readers).map(|(c, reader)| {
        let ident = c.ident;
        quote!(#ident: #record::FieldValue::read(#reader, row))
    });
    let rowtime_const = rowtime
        .map(|i| quote!(const ROWTIME: ::core::option::Option<usize> = ::core::option::Option::Some(#i);));
    let event_time = rowtime.map(|i| {
        let (ident, ty) = (columns[i].ident, columns[i].ty);
        let call = quote_spanned!(ty.span()=> #record::derive::event_time::<#ty>(&self.#ident));
        quote! {
            fn event_time(&self) -> ::core::option::Option<i64> {
                ::core::option::Option::Some(#call)
            }
        }
    });
    let key_checks = columns.iter().filter(|c| c.attributes.key).map(|c| {
        let ty = c.ty;
        quote_spanned!(ty.span()=> const _: () = #record::derive::assert_key::<#ty>();)
    });
    Ok(quote! {
        #[automatically_derived]
        impl #record::Record for #name {
            type Reader = (#(#reader_types,)*);
            #rowtime_const
            const KEY: &'static [usize] = &[#(#keys),*];

            fn fields() -> ::std::vec::Vec<#record::Field> {
                ::std::vec![#(#fields),*]
            }

            fn write<'a, I>(
                records: I,
                fields: &[#record::Field],
            ) -> #record::derive::Columns<::std::vec::Vec<#record::derive::ArrayRef>>
            where
                Self: 'a,
                I: ::core::iter::Iterator<Item = ::core::option::Option<&'a Self>> + ::core::clone::Clone,
            {
                ::core::result::Result::Ok(::std::vec![#(#writes),*])
            }

            fn reader(cells: &#record::Cells<'_>) -> #record::derive::Columns<Self::Reader> {
                ::core::result::Result::Ok((#(#opens,)*))
            }

            fn read((#(#readers,)*): &Self::Reader, row: usize) -> Self {
                Self { #(#reads),* }
            }

            #event_time
        }

        #(#key_checks)*
    })
}

fn field(column: &Column<'_>, record: &syn::Path) -> TokenStream {
    let (ty, name) = (column.ty, &column.name);
    let data_type = match (column.attributes.rowtime, column.attributes.precision) {
        (true, precision) => {
            let precision = precision.unwrap_or(3);
            quote_spanned!(ty.span()=> #record::derive::with_precision::<#ty>(#precision))
        }
        (false, Some(precision)) => {
            quote_spanned!(ty.span()=> #record::derive::with_precision::<#ty>(#precision))
        }
        (false, None) => quote_spanned!(ty.span()=> <#ty as #record::FieldValue>::data_type()),
    };
    quote!(#record::Field::new(#name, #data_type))
}

fn columns(input: &DeriveInput) -> Result<Vec<Column<'_>>> {
    let name = &input.ident;
    let wrong = |what: &str| {
        Error::new(name.span(), format!("`Record` is for structs with named fields, but `{name}` is {what}"))
    };
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(_) => return Err(wrong("an enum; give a struct a column for each of its variants")),
        Data::Union(_) => return Err(wrong("a union")),
    };
    let fields = match &data.fields {
        Fields::Named(fields) if !fields.named.is_empty() => &fields.named,
        Fields::Unnamed(_) => return Err(wrong("a tuple struct; name its fields, since columns have names")),
        _ => return Err(wrong("a struct without fields; a table has at least one column")),
    };
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new(
            parameter.span(),
            format!(
                "`Record` cannot be derived for the generic `{name}`: a table's column types are fixed; write a struct for each"
            ),
        ));
    }
    let mut columns: Vec<Column<'_>> = Vec::new();
    for field in fields {
        let Some(ident) = &field.ident else { continue };
        let attributes = FieldAttributes::new(&field.attrs)?;
        let (name, span) = match &attributes.rename {
            Some(name) => (name.value(), name.span()),
            None => (unraw(ident), ident.span()),
        };
        if name == "$row_kind" {
            return Err(Error::new(
                span,
                "`$row_kind` is the column of a changelog's row kinds; take another name",
            ));
        }
        if columns.iter().any(|other| other.name == name) {
            return Err(Error::new(span, format!("two fields have the column name `{name}`")));
        }
        if attributes.rowtime && columns.iter().any(|other| other.attributes.rowtime) {
            return Err(Error::new(
                ident.span(),
                "a record has one event time, but two fields say `rowtime`",
            ));
        }
        if let (true, Some(precision @ 4..)) = (attributes.rowtime, attributes.precision) {
            return Err(Error::new(
                ident.span(),
                format!(
                    "event time has milliseconds: a `rowtime` field cannot have precision {precision}, 3 at most"
                ),
            ));
        }
        columns.push(Column { ident, ty: &field.ty, name, attributes });
    }
    Ok(columns)
}

/// `r#type` is the column `type`.
fn unraw(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or_else(|| name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> String {
        record(&syn::parse_str(code).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_struct_with_named_fields_is_refused() {
        for (code, what) in [
            ("enum Shape { Round }", "an enum; give a struct a column for each of its variants"),
            ("struct Shape(i64, i64);", "a tuple struct; name its fields, since columns have names"),
            ("struct Shape;", "a struct without fields; a table has at least one column"),
            ("struct Shape {}", "a struct without fields; a table has at least one column"),
            ("union Shape { a: i64 }", "a union"),
        ] {
            let message = format!("`Record` is for structs with named fields, but `Shape` is {what}");
            assert_eq!(refused(code), message, "{code}");
        }
        for code in ["struct Pair<T> { a: T }", "struct Pair<'a> { a: &'a str }"] {
            let message = refused(code);
            assert!(message.starts_with("`Record` cannot be derived for the generic `Pair`"), "{message}");
        }
    }

    #[test]
    fn wrong_attributes_are_refused() {
        for (code, message) in [
            (
                "struct A { #[record(name = \"x\")] a: i64 }",
                "a field takes `rename = \"…\"`, `rowtime`, `key` and `precision = …`",
            ),
            (
                "#[record(key)] struct A { a: i64 }",
                "a struct takes only `crate = \"path\"`; the other attributes stand at a field",
            ),
            ("struct A { #[record(rename = \"\")] a: i64 }", "a column needs a name"),
            ("struct A { #[record(rename = \"b\")] a: i64, b: i64 }", "two fields have the column name `b`"),
            ("struct A { #[record(precision = 10)] a: T }", "a timestamp's precision is 0 to 9"),
            (
                "struct A { #[record(rowtime)] a: T, #[record(rowtime)] b: T }",
                "a record has one event time, but two fields say `rowtime`",
            ),
            (
                "struct A { #[record(rowtime, precision = 6)] a: T }",
                "event time has milliseconds: a `rowtime` field cannot have precision 6, 3 at most",
            ),
            (
                "struct A { #[record(rename = \"$row_kind\")] a: i8 }",
                "`$row_kind` is the column of a changelog's row kinds; take another name",
            ),
        ] {
            assert_eq!(refused(code), message, "{code}");
        }
    }

    #[test]
    fn a_raw_name_is_a_column_without_its_prefix() {
        let code = record(&syn::parse_str("struct A { r#type: i64 }").unwrap()).unwrap().to_string();
        assert!(code.contains("Field :: new (\"type\""), "{code}");
    }
}
