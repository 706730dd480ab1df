//! Codes of building, moving and judging images.

use super::codes;

codes! { IMAGE;
    IMG001 (CONFIGURATION) "no image of that name is described",
        "rtc.toml has no [images.NAME] for it, or it is mistyped",
        "rtcctl config show lists the images; describe one in rtc.toml";
    IMG002 (CONFIGURATION) "the description of an image is wrong",
        "a value of [images.NAME] does not say what it should",
        "mend the line that the message names";
    IMG003 (BUILD_FAILED) "the program is no program of Linux",
        "the file is not ELF: a script, a binary of another system, or cut off",
        "build it for Linux: cargo build --release --target x86_64-unknown-linux-gnu";
    IMG004 (BUILD_FAILED) "the program is for another machine",
        "its architecture is not the one of the platform, or two programs are for the same one",
        "build it for the platform, or name the platform that it is for";
    IMG005 (BUILD_FAILED) "a library is missing",
        "the program needs it, and the loader of this machine would not find it either",
        "install the package that has it, or link the program statically";
    IMG006 (BUILD_FAILED) "a file cannot be read or written",
        "it is not there, this user may not, or the disk is full",
        "see to what the causes say; nothing that was finished before is lost";
    IMG007 (BUILD_FAILED) "the base image cannot be used",
        "it is not there, its digest is another one, or it is not for this platform",
        "name a base that exists by its digest: registry/repository@sha256:…; rtcctl image inspect shows it";
    IMG008 (USAGE) "this names no image",
        "a reference is [HOST/]REPOSITORY[:TAG][@sha256:…], oci:DIR[:TAG], or the name of an image in rtc.toml",
        "write it so; upper case and spaces are not allowed in repositories";
    IMG009 (NOT_FOUND) "there is no such image",
        "the tag or the digest is mistyped, was never pushed, or has been deleted",
        "rtcctl image ls shows what there is";
    IMG010 (NOT_FOUND) "there is no such repository",
        "nobody made it, or it is in another account or region",
        "rtcctl image push makes it where the registry is ECR; otherwise have it made";
    IMG011 (DENIED) "the registry does not let us",
        "there are no credentials, they have expired, or they lack a permission",
        "sign in: aws sso login for ECR, docker login HOST for others";
    IMG012 (CONFLICT) "the tag is taken by another image",
        "tags of this repository are immutable, and this one holds another digest",
        "use another tag, or refer to the digest; the message names both";
    IMG013 (PUSH_FAILED) "the push failed",
        "the registry refused what it was sent",
        "see the causes; what was uploaded is there and is not uploaded again";
    IMG014 (UNAVAILABLE) "the registry does not answer reliably",
        "connections broke off or were refused, also when requests were repeated",
        "run the command again: it goes on where it was";
    IMG015 (PUSH_FAILED) "that is no registry",
        "something else answers at the address: a proxy, a login page, a web server",
        "look at the address; the cause quotes the first line of the answer";
    IMG016 (PUSH_FAILED) "what came is not what was asked for",
        "the content does not have the digest by which it was asked for: damaged on the way, or somebody changed it",
        "run the command again; if it stays so, do not use that registry";
    IMG017 (NOT_FOUND) "nothing has been built yet",
        "the layout on disk has no such image",
        "rtcctl image build makes it";
    IMG018 (BREACHED) "the scan found too much",
        "the image has findings at least as bad as --fail-on",
        "update what the findings name, build and push again";
    IMG019 (INCONCLUSIVE) "there is no scan to judge",
        "the image was never scanned, or the scanner cannot read it",
        "start one: rtcctl image scan --start; repositories that scan on push have one after a minute";
    IMG020 (TIMED_OUT) "the scan has not finished",
        "the deadline (--timeout) passed before the scanner was done",
        "ask again in a minute";
    IMG021 (CONFIGURATION) "this works with ECR only",
        "the registry has no such function of its own",
        "use a registry of ECR";
    IMG022 (PARTIAL) "some images could not be deleted",
        "something refers to them, or the permission is missing",
        "the causes name each with the registry's reason";
    IMG023 (CONFIGURATION) "no registry is known",
        "no region is set, or the account cannot be asked for",
        "set registry or region for the environment in rtc.toml, or name the whole reference";
    IMG024 (TIMED_OUT) "not done in time",
        "the deadline (--timeout) passed",
        "run it again, it goes on where it was; raise --timeout where the line is slow";
    IMG025 (CONFIGURATION) "something cannot be read as what it should be",
        "a document, an answer or a file of logins is damaged or of another kind",
        "look at what the message names";
    IMG026 (USAGE) "it is not said which image",
        "several are there and none was named, or a name is missing where one is needed",
        "name one: NAME:TAG, HOST/REPOSITORY:TAG or oci:DIR:TAG";
    IMG027 (REFUSED) "the layout is somebody else's",
        "--clean deletes what nothing names, and another program put images there",
        "build into a folder of its own: --layout DIR";
    IMG030 (DONE) "the repository is not as rtc.toml describes it",
        "somebody made or changed it otherwise; nothing was changed",
        "change it with Terraform, or mend rtc.toml";
    IMG031 (DONE) "the source was not committed",
        "files differ from the revision that the image names",
        "commit before you build what others will run";
    IMG032 (DONE) "the image was built without a revision",
        "the folder is no checkout of git, or git is not installed",
        "pass --revision";
}
