// Runs in each page before its own scripts: what only a page learns, and a search for elements by the text that a person reads.
(() => {
    let complaints = [];
    const longTasks = [];
    const complain = (kind, text) => complaints.push(`${kind}: ${text}`);
    addEventListener('securitypolicyviolation', (event) => {
        complain('policy', `${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber} ${event.sample}`);
    });
    addEventListener('error', (event) => complain('error', `${event.message} ${event.filename}:${event.lineno}`));
    addEventListener('unhandledrejection', (event) => complain('rejection', event.reason?.stack ?? String(event.reason)));
    new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => Math.round(entry.duration))))
        .observe({ type: 'longtask', buffered: true });

    const isVisible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    const text = (element) => element.innerText?.trim().replace(/\s+/g, ' ') ?? '';
    /** The pieces of text of an element, each by itself. */
    const pieces = (element) => {
        const found = [];
        const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) found.push(walker.currentNode.data.trim());
        return found.filter(Boolean);
    };
    const names = (element) => [
        element.getAttribute('aria-label'),
        ...(element.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean).map((id) => text(document.getElementById(id) ?? document.body)),
        ...[...(element.labels ?? [])].flatMap((label) => [text(label), ...pieces(label)]),
        ...(element.matches('label') ? pieces(element) : []),
        element.matches('select') ? null : text(element),
        element.getAttribute('placeholder'),
        element.getAttribute('title'),
    ];

    window.observer = {
        longTasks,
        takeComplaints() {
            const taken = complaints;
            complaints = [];
            return taken;
        },
        // The names of the element with the focus.
        focused: () => names(document.activeElement).filter(Boolean),
        // Marks the first visible element of this kind with this name, in a row with the text `beside` if it is not empty; how many there are.
        mark(kind, name, beside) {
            document.querySelectorAll('[data-observed]').forEach((element) => element.removeAttribute('data-observed'));
            const open = [...document.querySelectorAll('dialog[open]')].at(-1);
            const found = [...(open ?? document).querySelectorAll(kind)]
                .filter((element) => isVisible(element) && names(element).includes(name))
                .filter((element) => !beside || element.closest('tr, li')?.innerText.includes(beside));
            found[0]?.setAttribute('data-observed', '');
            return found.length;
        },
    };
})();
