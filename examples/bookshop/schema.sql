CREATE TABLE continent (
  id integer PRIMARY KEY,
  name text NOT NULL
);

CREATE TABLE country (
  id integer PRIMARY KEY,
  name text NOT NULL,
  code text NOT NULL,
  continent_id integer NOT NULL REFERENCES continent
);

CREATE TABLE city (
  id integer PRIMARY KEY,
  name text NOT NULL,
  country_id integer NOT NULL REFERENCES country
);

CREATE TABLE publisher (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  founded_on date,
  is_active boolean NOT NULL
);

CREATE TABLE author (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  date_of_birth date,
  city_id integer REFERENCES city
);

CREATE TABLE book (
  isbn text PRIMARY KEY,
  title text NOT NULL,
  description text,
  price numeric(8, 2),
  pages integer NOT NULL,
  weight_kg double precision,
  in_stock boolean NOT NULL,
  published_on date,
  -- Larger than what a double holds exactly.
  catalogue_number bigint NOT NULL,
  tags text[],
  dimensions jsonb,
  updated_at timestamptz NOT NULL,
  publisher_id bigint REFERENCES publisher
);

CREATE TABLE book_author (
  book_isbn text NOT NULL REFERENCES book ON UPDATE CASCADE ON DELETE CASCADE,
  author_id bigint NOT NULL REFERENCES author,
  position smallint NOT NULL,
  PRIMARY KEY (book_isbn, author_id)
);

CREATE TABLE rating (
  id bigint PRIMARY KEY,
  book_isbn text NOT NULL REFERENCES book ON UPDATE CASCADE ON DELETE CASCADE,
  stars smallint NOT NULL,
  reviewer text NOT NULL,
  comment text,
  created_at timestamptz NOT NULL
);

-- What a change needs to find the books it touches.
CREATE INDEX ON country (continent_id);
CREATE INDEX ON city (country_id);
CREATE INDEX ON author (city_id);
CREATE INDEX ON book (publisher_id);
CREATE INDEX ON book_author (author_id);
CREATE INDEX ON rating (book_isbn);
