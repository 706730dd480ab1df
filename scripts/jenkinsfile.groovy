// Reads declarative Jenkinsfiles with the parser of the Groovy that Jenkins runs (2.4), and judges their blocks as the
// model of Declarative Pipeline has them: `groovy jenkinsfile.groovy FILE…`. Prints each `sh` as JSON, fails on any fault.
//
// Stricter than Jenkins on purpose: no `script`, no step that is not in the list below, no text with a `${}` that Groovy
// would put in before the shell sees it, `sh` of one line alone.

import groovy.json.JsonOutput
import org.codehaus.groovy.ast.expr.*
import org.codehaus.groovy.ast.stmt.*
import org.codehaus.groovy.control.CompilationFailedException
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.Phases

class Judge {
    static final SECTIONS = ['agent', 'environment', 'options', 'parameters', 'triggers', 'tools', 'libraries', 'stages', 'post'] as Set
    static final STAGE = ['agent', 'environment', 'options', 'tools', 'input', 'when', 'failFast', 'steps', 'stages', 'parallel', 'matrix', 'post'] as Set
    static final BODIES = ['steps', 'stages', 'parallel', 'matrix'] as Set
    static final POST = ['always', 'changed', 'fixed', 'regression', 'aborted', 'failure', 'success', 'unstable', 'unsuccessful', 'cleanup'] as Set
    static final AGENTS = ['any', 'none', 'label', 'kubernetes', 'node'] as Set
    static final KUBERNETES = ['yamlFile', 'inheritFrom', 'defaultContainer', 'label', 'cloud', 'namespace', 'retries', 'idleMinutes', 'yamlMergeStrategy', 'serviceAccount'] as Set
    static final OPTIONS = ['buildDiscarder', 'disableConcurrentBuilds', 'disableResume', 'skipDefaultCheckout', 'skipStagesAfterUnstable', 'timeout', 'timestamps', 'preserveStashes', 'quietPeriod', 'retry', 'parallelsAlwaysFailFast', 'durabilityHint', 'disableRestartFromStage'] as Set
    static final WHEN = ['branch', 'buildingTag', 'changelog', 'changeset', 'changeRequest', 'environment', 'equals', 'expression', 'tag', 'not', 'allOf', 'anyOf', 'triggeredBy', 'beforeAgent', 'beforeInput', 'beforeOptions'] as Set
    static final NESTED = ['not', 'allOf', 'anyOf'] as Set
    static final INPUT = ['message', 'id', 'ok', 'submitter', 'submitterParameter', 'parameters'] as Set
    static final PARAMETERS = ['string', 'text', 'booleanParam', 'choice'] as Set
    static final TRIGGERS = ['cron', 'pollSCM', 'upstream', 'githubPush'] as Set
    // Steps with a body may hold others.
    static final STEPS = ['sh': false, 'checkout': false, 'stash': false, 'unstash': false, 'archiveArtifacts': false, 'junit': false, 'echo': false,
                          'milestone': false, 'container': true, 'catchError': true, 'timeout': true, 'retry': true, 'withCredentials': true, 'withEnv': true, 'lock': true]
    // Anything else that a value is made of.
    static final CALLS = ['logRotator', 'string', 'credentials', 'merge'] as Set

    final String file
    final faults = []
    final shells = []
    final names = [] as Set

    Judge(String file) { this.file = file }

    void fault(node, String what) { faults << "${file}:${node.lineNumber}: ${what}" }

    /** The calls of a block, each with its name, its arguments and its own block. */
    List calls(BlockStatement block) {
        block.statements.collectMany { statement ->
            def expression = statement instanceof ExpressionStatement ? statement.expression : null
            if (expression instanceof BinaryExpression && expression.operation.text == '=') {
                return [[node: expression, name: expression.leftExpression.text, assigned: expression.rightExpression]]
            }
            if (expression instanceof VariableExpression) {
                return [[node: expression, name: expression.name, arguments: [], body: null]]
            }
            if (!(expression instanceof MethodCallExpression) || !expression.implicitThis) {
                fault(statement, "only blocks and steps stand here: ${statement.text}")
                return []
            }
            def arguments = expression.arguments instanceof TupleExpression ? expression.arguments.expressions : [expression.arguments]
            def body = arguments && arguments.last() instanceof ClosureExpression ? arguments.last() : null
            [[node: expression, name: expression.methodAsString, arguments: body ? arguments.init() : arguments, body: body?.code]]
        }
    }

    void allow(call, Set names, String where) {
        if (!(call.name in names)) fault(call.node, "${where} has no ${call.name}")
    }

    void once(List found, String where) {
        found.groupBy { it.name }.each { name, same -> if (same.size() > 1) fault(same[1].node, "${where} has ${name} twice") }
    }

    boolean block(call) {
        if (call.body == null) fault(call.node, "${call.name} is a block")
        call.body != null
    }

    void pipeline(BlockStatement root) {
        def top = calls(root)
        if (top*.name != ['pipeline'] || !top[0].body) {
            faults << "${file}: one block pipeline { }, and nothing beside it"
            return
        }
        def sections = calls(top[0].body)
        once(sections, 'pipeline')
        sections.each { allow(it, SECTIONS, 'pipeline') }
        for (needed in ['agent', 'stages']) if (!(needed in sections*.name)) fault(top[0].node, "pipeline has no ${needed}")
        sections.each { section ->
            switch (section.name) {
                case 'stages': stages(section); break
                case 'triggers': block(section) && calls(section.body).each { allow(it, TRIGGERS, 'triggers'); values(it) }; break
                case 'parameters': parameters(section); break
                default: shared(section)
            }
        }
    }

    /** What a pipeline and a stage both may have. */
    void shared(section) {
        switch (section.name) {
            case 'agent': agent(section); break
            case 'environment': environment(section); break
            case 'options': block(section) && calls(section.body).each { allow(it, OPTIONS, 'options'); values(it) }; break
            case 'post':
                if (block(section)) {
                    def conditions = calls(section.body)
                    once(conditions, 'post')
                    conditions.each { allow(it, POST, 'post'); if (block(it)) steps(it.body) }
                }
        }
    }

    void agent(section) {
        if (section.body == null) {
            if (section.arguments.size() != 1 || !(section.arguments[0].text in ['any', 'none'])) fault(section.node, 'agent is any, none or a block')
            return
        }
        def kinds = calls(section.body)
        if (kinds.size() != 1) fault(section.node, 'an agent is of one kind')
        kinds.each { kind ->
            allow(kind, AGENTS, 'agent')
            if (kind.name == 'kubernetes' && block(kind)) {
                def keys = calls(kind.body)
                keys.each { allow(it, KUBERNETES, 'kubernetes'); values(it) }
                keys.findAll { it.name == 'yamlFile' }.each {
                    def path = it.arguments ? it.arguments[0].text : ''
                    if (!new File(path).isFile()) fault(it.node, "there is no file ${path}")
                }
            }
        }
    }

    void environment(section) {
        if (!block(section)) return
        calls(section.body).each {
            if (!it.containsKey('assigned')) fault(it.node, 'environment is NAME = value')
            else if (!(it.name ==~ /[A-Z][A-Z0-9_]*/)) fault(it.node, "${it.name}: a variable is in upper case")
            else value(it.assigned)
        }
    }

    void parameters(section) {
        if (!block(section)) return
        calls(section.body).each { parameter ->
            allow(parameter, PARAMETERS, 'parameters')
            values(parameter)
            def named = parameter.arguments.find { it instanceof MapExpression }
            if (named == null || !named.mapEntryExpressions.any { it.keyExpression.text == 'name' }) fault(parameter.node, 'a parameter has a name')
        }
    }

    void stages(section) {
        if (!block(section)) return
        def all = calls(section.body)
        if (!all) fault(section.node, 'stages has at least one stage')
        all.each { stage ->
            allow(stage, ['stage'] as Set, section.name)
            def name = stage.arguments && stage.arguments[0] instanceof ConstantExpression ? stage.arguments[0].value : null
            if (!(name instanceof String) || stage.arguments.size() != 1) fault(stage.node, "a stage has one name, and it is a text")
            else if (!names.add(name)) fault(stage.node, "two stages are called ${name}")
            if (!block(stage)) return
            def parts = calls(stage.body)
            once(parts, "the stage ${name}")
            parts.each { allow(it, STAGE, 'a stage') }
            if (parts.count { it.name in BODIES } != 1) fault(stage.node, "the stage ${name} has one of ${BODIES.join(', ')}")
            parts.each { part ->
                switch (part.name) {
                    case 'steps': if (block(part)) steps(part.body); break
                    case ['stages', 'parallel']: stages(part); break
                    case 'when': if (block(part)) conditions(part, true); break
                    case 'input':
                        if (block(part)) {
                            def keys = calls(part.body)
                            keys.each { allow(it, INPUT, 'input'); it.name == 'parameters' ? parameters(it) : values(it) }
                            if (!('message' in keys*.name)) fault(part.node, 'input has a message')
                        }
                        break
                    default: shared(part)
                }
            }
        }
    }

    void conditions(part, boolean outermost) {
        def all = calls(part.body)
        if (!all.any { !it.name.startsWith('before') }) fault(part.node, "${part.name} has no condition")
        all.each { condition ->
            allow(condition, WHEN, 'when')
            if (condition.name in NESTED) { if (block(condition)) conditions(condition, false) }
            else if (condition.name.startsWith('before') && !outermost) fault(condition.node, "${condition.name} stands in when itself")
            else if (condition.name != 'expression') values(condition)
        }
    }

    void steps(BlockStatement block) {
        def all = calls(block)
        if (!all) fault(block, 'steps without a step')
        all.each { step ->
            if (!STEPS.containsKey(step.name)) { fault(step.node, "${step.name} is no step that is used here"); return }
            values(step)
            if (step.name == 'sh') shell(step)
            if (STEPS[step.name]) { if (this.block(step)) steps(step.body) }
            else if (step.body != null) fault(step.node, "${step.name} has no block")
        }
    }

    void shell(step) {
        def text = step.arguments.size() == 1 ? step.arguments[0] : null
        if (!(text instanceof ConstantExpression) || !(text.value instanceof String)) { fault(step.node, 'sh takes one text'); return }
        if (text.value.contains('\n') || text.value.trim() != text.value || !text.value) fault(step.node, 'sh is one line')
        shells << [file: file, line: step.node.lineNumber, command: text.value]
    }

    void values(call) { call.arguments?.each { value(it) } }

    void value(expression) {
        switch (expression) {
            case GStringExpression: fault(expression, 'a text that Groovy fills in: use single quotes, and variables of the environment'); break
            case ConstantExpression: case VariableExpression: break
            case MapExpression: expression.mapEntryExpressions.each { value(it.valueExpression) }; break
            case ListExpression: expression.expressions.each { value(it) }; break
            case TupleExpression: expression.expressions.each { value(it) }; break
            case PropertyExpression: break
            case MethodCallExpression:
                if (!(expression.methodAsString in CALLS)) fault(expression, "${expression.methodAsString}() is not called here")
                value(expression.arguments)
                break
            default: fault(expression, "what is ${expression.text} doing here")
        }
    }
}

def faults = []
def shells = []
for (path in args) {
    def judge = new Judge(path)
    try {
        def unit = new CompilationUnit()
        unit.addSource(path, new File(path).getText('UTF-8'))
        unit.compile(Phases.CONVERSION)
        judge.pipeline(unit.AST.modules[0].statementBlock)
    } catch (CompilationFailedException error) {
        judge.faults << "${path}: ${error.message}"
    }
    faults.addAll(judge.faults)
    shells.addAll(judge.shells)
}
println JsonOutput.toJson(shells)
faults.each { System.err.println it }
System.exit(faults ? 1 : 0)
