/** How to log in to the search engine. */
export type SearchLogin =
  | { readonly kind: "none" }
  | { readonly kind: "basic"; readonly user: string; readonly password: string }
  | { readonly kind: "api-key"; readonly key: string }
  | { readonly kind: "bearer"; readonly token: string };

/** How to reach the search engine. */
export interface SearchOptions {
  /** One or more base URLs, without user and password. */
  readonly urls: readonly string[];
  /** How to log in. */
  readonly login: SearchLogin;
  /** Check the server's certificate. */
  readonly verifyCertificates: boolean;
  /** Path of a PEM file with the certificate authorities to trust. */
  readonly caCertificate: string | null;
  /** SHA-256 fingerprint of the certificate authority. */
  readonly caFingerprint: string | null;
  /** Paths of PEM files for TLS client authentication. */
  readonly clientCertificate: string | null;
  /** The private key of the client certificate. */
  readonly clientKey: string | null;
  /** Sent as X-Opaque-Id with each request. */
  readonly opaqueId: string | null;
  /** Compress request bodies with gzip. */
  readonly compress: boolean;
  /** How long a request may take before it is given up. */
  readonly timeoutSeconds: number;
}

/** A search engine without login; its URLs are to be given. */
export const SEARCH_DEFAULTS = {
  login: { kind: "none" },
  verifyCertificates: true,
  caCertificate: null,
  caFingerprint: null,
  clientCertificate: null,
  clientKey: null,
  opaqueId: null,
  compress: false,
  timeoutSeconds: 60,
} as const satisfies Partial<SearchOptions>;
