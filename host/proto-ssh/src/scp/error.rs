//! What is wrong with a stream that does not keep to the protocol. The channel ends.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScpError {
    #[error("scp, from the client: {0}")]
    Client(Wrong),
    #[error("scp, from the server: {0}")]
    Server(Wrong),
    #[error(
        "there is no open scp request with the ticket {0}; the relay must answer each one once"
    )]
    Ticket(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("bytes before it is its turn; each record has to be acknowledged before the next one")]
    Early,
    #[error("a record or message of more than {0} bytes")]
    TooLong(usize),
    #[error("a record that begins with the byte {0:#04x}, which is none of C, D, E and T")]
    Record(u8),
    #[error("a record {0} that is not laid out as such")]
    Layout(char),
    #[error("a file name that is empty, . or .., or holds a slash or NUL: {0}")]
    Name(String),
    #[error("a path of {0} bytes; at most 4096 are allowed")]
    Path(usize),
    #[error("a directory, though directories were not asked for (-r)")]
    Directory,
    #[error("the end of a directory where none is open")]
    End,
    #[error("directories in one another, more than {0} deep")]
    Depth(usize),
    #[error("an acknowledgement that begins with the byte {0:#04x}, which is none of 0, 1 and 2")]
    Acknowledgement(u8),
}
