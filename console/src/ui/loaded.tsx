/** What the server is asked for when a part of the page is opened. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../api/http";

export interface Loaded<T> {
  /** undefined until it is there */
  value: T | undefined;
  error: string;
  reload: () => void;
}

/** Return what `load` gives, asked for again where `keys` change. */
export function useLoaded<T>(load: () => Promise<T>, keys: readonly unknown[]): Loaded<T> {
  const [value, setValue] = useState<T | undefined>(undefined);
  const [error, setError] = useState("");
  const [round, setRound] = useState(0);
  useEffect(() => {
    let current = true;
    load().then(
      (found) => {
        if (!current) return;
        setValue(() => found);
        setError("");
      },
      (failure: unknown) => {
        if (!(failure instanceof ApiError)) throw failure;
        if (current) setError(failure.message);
      },
    );
    return () => {
      current = false;
    };
  }, [...keys, round]);
  return { value, error, reload: () => setRound(round + 1) };
}

interface ShownProps<T> {
  of: Loaded<T>;
  children: (value: T) => ComponentChildren;
}

/** Show what was loaded, or that it is on its way, or why it is not there. */
export function Shown<T>({ of, children }: ShownProps<T>) {
  if (of.error)
    return (
      <p class="notice error" role="alert">
        {of.error}
      </p>
    );
  if (of.value === undefined)
    return (
      <p role="status">
        <span class="spinner" /> Loading …
      </p>
    );
  return <>{children(of.value)}</>;
}
