/** A dialog above the page: closed by Escape and by its buttons. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, ask } from "../api/http";
import { say } from "./toast";

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    element.current?.showModal();
  }, []);
  return (
    <dialog ref={element} class="dialog" aria-label={title} onClose={onClose}>
      <div class="dialog-body">
        <h2>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

interface FormDialogProps extends DialogProps {
  /** on the button that does it */
  action: string;
  danger?: boolean;
  disabled?: boolean;
  /** raises ApiError, which is shown */
  onSubmit: () => Promise<void>;
}

/** A dialog with a form; what the server refuses is shown in it. */
export function FormDialog({ title, action, danger, disabled, onSubmit, onClose, children }: FormDialogProps) {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    setError("");
    try {
      await onSubmit();
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      setError(failure.message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        {children}
        {error && (
          <p class="notice error" role="alert">
            {error}
          </p>
        )}
        <div class="dialog-foot">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class={`button ${danger ? "danger" : "primary"}`} disabled={busy || disabled}>
            {action}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface DeletionProps extends DialogProps {
  /** of what is deleted, in the API */
  path: string;
  /** what has to be typed, so that it is not done in passing */
  typed?: string;
  /** on the button that does it */
  action?: string;
  /** the word said when it is done */
  said?: string;
  /** after the dialog has been closed */
  onDone: () => void;
}

/** A dialog that asks whether a deletion is meant, and does it. */
export function Deletion({ title, path, typed, action, said, onDone, onClose, children }: DeletionProps) {
  const [text, setText] = useState("");
  return (
    <FormDialog
      title={title}
      action={action ?? "Delete"}
      danger
      disabled={typed !== undefined && text !== typed}
      onSubmit={async () => {
        await ask(path, { method: "DELETE" });
        onClose();
        onDone();
        say(said ?? "Deleted");
      }}
      onClose={onClose}
    >
      <p>{children}</p>
      {typed !== undefined && (
        <label>
          Type {typed} to confirm
          <input class="input" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      )}
    </FormDialog>
  );
}
