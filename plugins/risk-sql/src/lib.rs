//! risk-sql
