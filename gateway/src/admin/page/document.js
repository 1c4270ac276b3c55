// The document: finding, filling and arranging its parts. Text goes in as text only (`textContent`), never as markup,
// since names come from strangers.

export const byId = (id) => document.getElementById(id);
export const field = (root, name) => root.querySelector(`[data-field="${name}"]`);
export const clone = (id) => byId(`${id}-template`).content.cloneNode(true);

// Leaves alone what is there already, so that a selection stays and nothing is drawn again.
export function say(element, text, kind = '') {
    if (element.textContent !== text) element.textContent = text;
    if (element.dataset.kind !== kind) {
        if (element.dataset.kind) element.classList.remove(element.dataset.kind);
        if (kind) element.classList.add(kind);
        element.dataset.kind = kind;
    }
}

export function show(element, is) {
    if (element.hidden === is) element.hidden = !is;
}

// Has the children of `parent` be `wanted`, moving only those that are not in their place.
export function arrange(parent, wanted) {
    wanted.forEach((child, i) => {
        if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
    });
    while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}

// Has a button do something at the second click within some seconds: one is no decision.
export function decided(button, act) {
    const { textContent } = button;
    const calm = () => {
        button.classList.remove('sure');
        button.textContent = textContent;
    };
    button.addEventListener('click', () => {
        if (!button.classList.contains('sure')) {
            button.classList.add('sure');
            button.textContent = 'Sure?';
            setTimeout(calm, 4000);
            return;
        }
        calm();
        act();
    });
}
