/** A button that opens a menu: closed by Escape, by a click elsewhere, and by a choice. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

interface MenuProps {
  label: ComponentChildren;
  title: string;
  className?: string;
  children: (close: () => void) => ComponentChildren;
}

export function Menu({ label, title, className = "button", children }: MenuProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  useEffect(() => {
    if (!open) return;
    const outside = (event: MouseEvent) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    addEventListener("mousedown", outside);
    root.current?.querySelector<HTMLElement>(".menu [autofocus], .menu input, .menu button")?.focus();
    return () => removeEventListener("mousedown", outside);
  }, [open]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (!open) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") moveFocus(event, root.current);
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: keys of the menu inside bubble up to here
    <div class="menu-root" ref={root} onKeyDown={onKeyDown}>
      <button
        ref={button}
        type="button"
        class={className}
        title={title}
        aria-label={title}
        aria-haspopup="true"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        {label}
      </button>
      {open && <div class="menu">{children(close)}</div>}
    </div>
  );
}

interface MenuSearchProps {
  /** what is looked for, such as "a dataset" */
  what: string;
  typed: string;
  onType: (typed: string) => void;
}

/** What to look for among the items of a menu. */
export function MenuSearch({ what, typed, onType }: MenuSearchProps) {
  return (
    <input
      class="input menu-search"
      placeholder={`Find ${what}`}
      aria-label={`Find ${what}`}
      value={typed}
      onInput={(event) => onType(event.currentTarget.value)}
    />
  );
}

function moveFocus(event: KeyboardEvent, root: HTMLElement | null): void {
  const items = [...(root?.querySelectorAll<HTMLElement>(".menu-item") ?? [])];
  const at = items.indexOf(document.activeElement as HTMLElement);
  if (!items.length || (at < 0 && document.activeElement instanceof HTMLInputElement && event.key === "ArrowUp"))
    return;
  event.preventDefault();
  const next = event.key === "ArrowDown" ? at + 1 : at - 1;
  items[(next + items.length) % items.length]?.focus();
}
