//! Codes of the configuration layer.

use super::codes;

codes! { CONFIG;
    CFG001 (CONFIGURATION) "a configuration file cannot be read",
        "the file exists but is a folder, is not readable for this user, or is not UTF-8",
        "check the path and its permissions";
    CFG002 (CONFIGURATION) "a configuration file is not valid TOML",
        "a syntax error at the line and column in the message",
        "mend the line; rtcctl config validate checks the file without doing anything else";
    CFG003 (CONFIGURATION) "a configuration file has an unknown key",
        "a mistyped key; unknown keys are refused so that a typing error cannot pass as a setting",
        "use the key that the hint proposes, or look at rtcctl config schema";
    CFG004 (CONFIGURATION) "a setting has a value that is not allowed",
        "the value has the wrong type or form, or is not one of the allowed words",
        "the message names the origin of the value and what is allowed there";
    CFG005 (CONFIGURATION) "the environment is not defined",
        "--env, RTCCTL_ENV or defaults.env names an environment that no configuration file defines",
        "rtcctl config show lists the environments; define a missing one as [environments.NAME] in rtc.toml";
    CFG006 (CONFIGURATION) "an unknown RTCCTL_ variable is set",
        "a mistyped variable; unknown ones are refused so that a typing error cannot pass as a setting",
        "use the name that the hint proposes, or unset the variable";
    CFG007 (CONFIGURATION) "a secret is written out where only a reference may stand",
        "secrets are given by reference, so that they appear neither in files under version control nor in process lists",
        "write env:NAME, file:PATH or cmd:COMMAND instead, and change the secret that was written out";
    CFG008 (CONFIGURATION) "a secret's reference leads nowhere",
        "the variable is not set, the file is missing or empty, or the command failed",
        "provide what the reference names";
    CFG009 (CONFIGURATION) "a setting that is needed has no value",
        "what was asked for cannot be done without it, and nothing was begun",
        "the hints say where each is written";
}
