//! Codes that belong to no command: usage, interruption, output, confirmation, defects.

use super::codes;

codes! { GENERAL;
    INT001 (INTERNAL) "something inside rtcctl went wrong",
        "a defect, or a condition of the machine that nobody foresaw; the causes below the message say which",
        "repeat with -v; when it happens again, report it with the whole message";
    USE001 (USAGE) "the command line is not understood",
        "an unknown command or flag, a missing value, or a value of the wrong form",
        "read the usage line below the message, or add --help to the command";
    SIG001 (INTERRUPTED) "interrupted by Ctrl-C",
        "the first Ctrl-C stops cleanly and says what state things are in; a second one leaves at once",
        "read the state in the message; every command may be run again";
    SIG002 (TERMINATED) "terminated by SIGTERM",
        "another process, often a CI system or an init system, asked rtcctl to stop",
        "read the state in the message; every command may be run again";
    OUT001 (INTERNAL) "the output could not be written",
        "the file or device behind stdout or --events refused a write: a full disk, a missing folder, no permission",
        "free space or choose another file; the command itself may have done its work, so look before repeating it";
    CNF001 (REFUSED) "not confirmed, so nothing was done",
        "the command changes something and nobody said yes: the answer was no, or there is nobody to ask (--no-input, no terminal)",
        "answer the question, or pass --yes where a script has decided already";
    EXP001 (NOT_FOUND) "no such code",
        "the code given to rtcctl explain is not one of those that rtcctl uses",
        "run rtcctl explain without an argument for the whole list";
}
