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

pub(super) fn is_serial(name: &str) -> bool {
    SERIALS.contains(&name)
}
