//! Codes of telling others.

use super::codes;

codes! { NOTICES;
    NTC001 (UNAVAILABLE) "a notice did not arrive",
        "the receiver does not answer, refuses the message, or its address is wrong; what was told about is not affected",
        "see the reason of each receiver; rtcctl runs notify RUN --to NAME tells it again";
    NTC002 (CONFIGURATION) "there is no such receiver",
        "no [notices.NAME] of rtc.toml or of the user's file has that name, or it is mistyped",
        "rtcctl config show lists the receivers; describe one as [notices.NAME]";
    NTC003 (DONE) "nobody is told",
        "no [notices.NAME] is described, or none that is told of this environment",
        "describe one in rtc.toml: kind, url = \"env:NAME\", on = [\"failed\", …]";
    NTC004 (CONFIGURATION) "the commit is not known",
        "the folder is no checkout of git, git is not installed, or it refuses the folder of another user",
        "run it in the checkout, or leave --commit out";
}
