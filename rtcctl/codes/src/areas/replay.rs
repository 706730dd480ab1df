//! Codes of replaying real sales.

use super::codes;

codes! { REPLAY;
    RPL001 (PARTIAL) "a file cannot be read, or not to its end",
        "it does not exist, is a folder, may not be read, or the disk failed under it",
        "mend the file and replay again: what was taken already is known by its id and changes nothing";
    RPL002 (PARTIAL) "a file is given twice",
        "two of the paths lead to the same file; its lines would have been numbered on and counted twice",
        "give every file once";
    RPL003 (PARTIAL) "a file has no line",
        "it is empty or holds blank lines alone",
        "leave it out, or find out where its content went";
    RPL004 (PARTIAL) "a file has no usable header",
        "the first line must name the columns InvoiceNo, StockCode, Quantity, InvoiceDate and UnitPrice (any order, any case, separated by comma, semicolon or tab, in UTF-8)",
        "add or mend the first line; a UTF-16 or Latin-1 file is converted with iconv -f LATIN1 -t UTF-8";
    RPL010 (PARTIAL) "a line is too long to be a sale",
        "more than 64 KiB without a line feed: another kind of file, or a lost line end",
        "look at the file around that line";
    RPL011 (PARTIAL) "a line is not UTF-8",
        "the file was written in another encoding, often Latin-1 or Windows-1252",
        "convert it: iconv -f LATIN1 -t UTF-8 FILE";
    RPL012 (PARTIAL) "a line holds a NUL byte",
        "the file is damaged, or is not text",
        "look at the file around that line";
    RPL013 (PARTIAL) "the quotation marks of a line do not match",
        "a field begins with a quotation mark that is not closed, or text follows the closing one",
        "double the quotation marks inside a quoted field";
    RPL014 (PARTIAL) "a line has more or fewer columns than the header",
        "a separator inside a field that is not quoted, or a line that was cut off",
        "quote the field, or complete the line";
    RPL020 (PARTIAL) "a line has no usable invoice number",
        "the column is empty or longer than 64 bytes; without it the line has no id",
        "complete the line";
    RPL021 (PARTIAL) "a line has no usable stock code",
        "the column is empty or longer than 64 bytes",
        "complete the line";
    RPL022 (PARTIAL) "a quantity is not a whole number",
        "the column holds something else, or a number beyond 64 bits",
        "mend the line";
    RPL023 (PARTIAL) "a price is not a decimal number",
        "the column holds something else: a currency sign, thousands separators, an exponent",
        "mend the line: 1234.50 is the form";
    RPL024 (PARTIAL) "an amount cannot be told exactly",
        "quantity times price is no whole number of minor units of the currency, or beyond 64 bits; nothing is rounded",
        "check the price and --currency";
    RPL025 (PARTIAL) "a date is not understood",
        "the forms are 2010-12-01 08:26[:00], RFC 3339 with an offset, and 12/1/2010 8:26 (month first)",
        "mend the line";
    RPL030 (DENIED) "there is no password to sign in with",
        "replay and ingest load sign in as the operator with DIR/secrets/admin_password, which is not there",
        "name the data directory of the running platform with --data";
    RPL031 (PARTIAL) "the platform refused a line",
        "the line is a well-formed sale and breaks a rule of the platform; its own code and words are in the message",
        "mend the line as the message says";
    RPL032 (USAGE) "the replay cannot be done as asked",
        "a value on the command line does not make sense",
        "read the message";
}
