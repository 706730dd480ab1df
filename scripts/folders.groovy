// Runs the script of casc/jenkins.yaml that makes folders, as the plug-in job-dsl would, and prints what it makes as JSON:
// `groovy folders.groovy FILE`. Only what that script uses of job-dsl is here; anything else fails.

import groovy.json.JsonOutput

// job-dsl lets a configure block find or make a child by its name.
Node.metaClass.div = { String name ->
    delegate.children().find { it instanceof Node && it.name() == name } ?: delegate.appendNode(name)
}

class Somebody {
    String who
    List can = []

    void name(String name) { who = name }

    void permissions(List<String> permissions) { can.addAll(permissions) }
}

class Entries {
    final List entries = []

    void user(Closure block) { add('user', block) }

    void group(Closure block) { add('group', block) }

    private void add(String kind, Closure block) {
        def somebody = new Somebody()
        run(block, somebody)
        entries << [kind: kind, name: somebody.who, permissions: somebody.can]
    }

    static void run(Closure block, delegate) {
        block.delegate = delegate
        block.resolveStrategy = Closure.DELEGATE_FIRST
        block.call()
    }
}

class Inheritance {
    String strategy

    void inheriting() { strategy = 'inheriting' }

    void nonInheriting() { strategy = 'nonInheriting' }

    void inheritingGlobal() { strategy = 'inheritingGlobal' }
}

class Matrix {
    final inheritance = new Inheritance()
    final who = new Entries()

    void inheritanceStrategy(Closure block) { Entries.run(block, inheritance) }

    void entries(Closure block) { Entries.run(block, who) }
}

class Properties {
    Matrix matrix

    void authorizationMatrix(Closure block) {
        matrix = new Matrix()
        Entries.run(block, matrix)
    }
}

class Folder {
    String about
    final properties = new Properties()
    final node = new Node(null, 'com.cloudbees.hudson.plugins.folder.Folder')

    void description(String text) { about = text }

    void properties(Closure block) { Entries.run(block, properties) }

    void configure(Closure block) { block.call(node) }
}

def told(Node node) {
    [name: node.name(), attributes: node.attributes(), text: node.children().findAll { !(it instanceof Node) }.join(''),
     children: node.children().findAll { it instanceof Node }.collect { told(it) }]
}

def folders = [:]
def binding = new Binding()
binding.setVariable('folder', { String name, Closure block ->
    assert !folders.containsKey(name): "two folders are called ${name}"
    def folder = new Folder()
    Entries.run(block, folder)
    folders[name] = [about: folder.about, inheritance: folder.@properties.matrix?.inheritance?.strategy,
                     entries: folder.@properties.matrix?.who?.entries ?: [], xml: told(folder.node)]
})
new GroovyShell(binding).evaluate(new File(args[0]))
println JsonOutput.toJson(folders)
