//! The database port on MySQL 8 and MariaDB.
