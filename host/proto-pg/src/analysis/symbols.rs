//! What is PostgreSQL's own by its name: anything else that the catalogue does not have is newer than
//! the catalogue.

/// `SELECT DISTINCT oprname FROM pg_operator` on a new server, and those that versions before 14 have
/// besides. `!=` is how the scanner lets `<>` be written.
const OPERATORS: &str = "! !! != !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> \
    ->> -|- / < <-> << <<= <<| <= <> <@ <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> \
    @? @@ @@@ ^ ^@ | |&> |/ |>> || ||/ ~ ~* ~<=~ ~<~ ~= ~>=~ ~>~ ~~ ~~*";

/// Types that CREATE TABLE knows by name alone.
const SERIALS: &[&str] = &[
    "serial",
    "serial2",
    "serial4",
    "serial8",
    "smallserial",
    "bigserial",
];

pub(super) fn is_operator(symbol: &str) -> bool {
    OPERATORS.split(' ').any(|own| own == symbol)
}

/// A function of PostgreSQL's own that came with the version in which a name became a keyword. None for
/// `json`, which older servers read as a cast.
pub(super) fn keyword_since(name: &str) -> Option<&'static str> {
    match name {
        "json" => None,
        "json_array" | "json_arrayagg" | "json_object" | "json_objectagg" => {
            Some("pg_input_is_valid")
        }
        _ => Some("to_regtypemod"),
    }
}

pub(super) fn is_serial(name: &str) -> bool {
    SERIALS.contains(&name)
}
