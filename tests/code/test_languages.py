"""One small source a language, and what its chunks must be at a budget of 160 characters.

A case is the source and its chunks as `first-last kind symbol` lines. At that budget a definition of
40 characters or more stands alone.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turboprop.code.chunk import chunk_text
from turboprop.code.encoding import normalise_newlines
from turboprop.code.hooks import HOOKS
from turboprop.code.languages import KINDS, LANGUAGES
from turboprop.code.longlines import cut_long_lines
from turboprop.code.names import NAMINGS
from turboprop.code.syntax import MAX_NAMES, MAX_SIGNATURE, parser_for
from turboprop.types import Chunk

BUDGET = 160

CASES: dict[str, tuple[str, str]] = {}

CASES["python"] = (
    '''\
"""Doc."""
import os

LIMIT = 10
NAMES: list[str] = []


# A leading comment.
@decorated
@twice(1)
async def fetch(url, *, retries=3):
    """Fetches a page from an address."""
    return url


class Shape(Base):
    """A shape with a name and an area that is long enough."""

    sides: int = 0

    @property
    def area(self):
        value = self.sides * 100000
        return value

    def grow(self, by):
        self.sides += by * 1000000
        return self.sides


if os.name == "nt":
    def windows_only():
        return "this one runs on windows"
''',
    """\
1-7 constant LIMIT, NAMES
8-15 function fetch
16-20 class Shape, Shape.sides
21-25 method Shape.area
26-30 method Shape.grow
31-33 block windows_only
""",
)

CASES["javascript"] = (
    """\
import fs from 'fs';
const LIMIT = 10, NAME = 'x';

/** Adds two numbers. */
export default function add(a, b) {
  return a + b + LIMIT + 1000000;
}

const multiply = async (a, b) => {
  return a * b * LIMIT * 1000000;
};

export class Shape extends Base {
  static sides = 0;
  // The area of the shape, computed.
  area() {
    return this.sides * 10000000;
  }
  grow = (by) => {
    this.sides += by * 1000000;
  };
}

Shape.prototype.shrink = function (by) {
  this.sides -= by * 10000000;
};

module.exports.helper = function helper() {
  return 'a helper that is exported';
};
""",
    """\
1-3 constant LIMIT, NAME
4-8 function add
9-12 function multiply
13-14 class Shape
15-18 method Shape.area
19-23 method Shape.grow
24-27 function Shape.shrink
28-30 function helper
""",
)

CASES["typescript"] = (
    """\
export interface Point {
  x: number;
  y: number;
  distance(to: Point): number;
}

type Name = string | undefined | null | number;

enum Color {
  Red = 'a long red colour',
  Green = 'a green colour',
}

namespace Geometry {
  export function area(point: Point): number {
    return point.x * point.y * 1000000;
  }
  export const origin: Point = makePoint(0, 0);
}

@Injectable()
export abstract class Service<T> implements Base {
  constructor(private readonly client: Client) {}

  abstract find(id: string): Promise<T>;

  @Get('/items')
  protected async load(): Promise<void> {
    await this.client.load(1000000);
  }
}
""",
    """\
1-6 interface Point, Point.distance
7-8 type Name
9-13 enum Color
14-17 module Geometry, Geometry.area
18-20 constant Geometry.origin
21-22 class Service
23-24 method Service.constructor
25-26 method Service.find
27-31 method Service.load
""",
)

CASES["tsx"] = (
    """\
import React from 'react';

export const Button: React.FC<Props> = ({ label }) => {
  return <button className="wide">{label}</button>;
};

export function Page() {
  return <main><Button label="x" /></main>;
}
""",
    """\
1-2 block
3-6 function Button
7-9 function Page
""",
)

CASES["go"] = (
    """\
package shapes

import "fmt"

const (
	Limit = 10
	Other = 20
)

// Shape has sides.
type Shape[T any] struct {
	sides int
	name  string
}

type Area interface {
	Area(scale int) (int, error)
}

// Area of a shape.
func (s *Shape[T]) Area(scale int) (int, error) {
	return s.sides * scale, nil
}

func New(sides int) *Shape[int] {
	return &Shape[int]{sides: sides}
}
""",
    """\
1-9 constant Limit, Other
10-15 struct Shape
16-19 interface Area
20-24 method Shape.Area
25-27 function New
""",
)

CASES["rust"] = (
    """\
use std::fmt;

const LIMIT: usize = 10;

/// A shape.
#[derive(Debug, Clone)]
pub struct Shape<T> {
    sides: usize,
    name: T,
}

impl<T> Shape<T> {
    /// Makes one.
    pub fn new(name: T) -> Self {
        Shape { sides: LIMIT, name }
    }

    pub fn grow(&mut self, by: usize) {
        self.sides += by * 1_000_000;
    }
}

impl<T> fmt::Display for Shape<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.sides)
    }
}

pub trait Area {
    fn area(&self, scale: usize) -> usize;
}

mod inner {
    pub fn helper() -> usize { 1_000_000_000 }
}

macro_rules! square {
    ($x:expr) => { $x * $x };
}
""",
    """\
1-4 constant LIMIT
5-11 struct Shape
12-17 implementation Shape, Shape.new
18-22 method Shape.grow
23-28 implementation Display for Shape, Shape.fmt
29-32 trait Area, Area.area
33-36 module inner, inner.helper
37-39 macro square
""",
)

CASES["java"] = (
    """\
package a.b;

import java.util.List;

/** A shape. */
@Entity
public class Shape extends Base {
    private final int sides = 10;

    public Shape(int sides) {
        super(sides, "a shape by name");
    }

    /** Its area. */
    @Override
    public int area(int scale) {
        return this.sides * scale * 1000000;
    }

    static class Inner {
        int value() { return 1000000000; }
    }
}

interface Area {
    int area(int scale) throws Exception;
}

enum Color { RED, GREEN, BLUE, YELLOW, PURPLE }

record Point(int x, int y, int z, String label) {}
""",
    """\
1-4 block
5-9 class Shape
10-13 method Shape.Shape
14-19 method Shape.area
20-24 class Shape.Inner, Shape.Inner.value
25-28 interface Area, Area.area
29-30 enum Color
31-31 class Point
""",
)

CASES["kotlin"] = (
    """\
package a.b

import kotlin.math.max

val LIMIT = 10

/** A shape. */
@Serializable
open class Shape(val sides: Int) : Base() {
    fun area(scale: Int): Int {
        return sides * scale * 1000000
    }

    companion object {
        fun of(sides: Int) = Shape(sides + 1000000)
    }
}

interface Area {
    fun area(scale: Int, exact: Boolean): Int
}

object Registry {
    val shapes = mutableListOf<Shape>()
}

enum class Color { RED, GREEN, BLUE, YELLOW }

fun String.shapeNamed(): Shape = Shape(this.length)
""",
    """\
1-6 constant LIMIT
7-9 class Shape
10-13 method Shape.area
14-18 object Shape.Companion, Shape.Companion.of
19-22 interface Area, Area.area
23-26 object Registry
27-28 enum Color
29-29 function shapeNamed
""",
)

CASES["c"] = (
    """\
#include <stdio.h>
#define LIMIT 10
#define SQUARE(x) ((x) * (x)) /* squares the x */

/* A shape. */
typedef struct shape {
    int sides;
    const char *name;
} shape_t;

enum color { RED, GREEN, BLUE, YELLOW, PURPLE };

static int total = 0;

int area(const shape_t *shape, int scale);

/* Its area. */
static char *describe(const shape_t *shape)
{
    return shape->name ? shape->name : "none";
}

#ifdef WINDOWS
int windows_only(void) { return 1000000000; }
#endif
""",
    """\
1-2 constant LIMIT
3-4 macro SQUARE
5-10 struct shape_t, shape
11-12 enum color
13-14 constant total
15-16 function area
17-22 function describe
23-25 block windows_only
""",
)

CASES["cpp"] = (
    """\
#pragma once
#include <vector>

namespace geo::flat {

class EXPORT_API Shape final : public Base {
 public:
  explicit Shape(int sides) : sides_(sides) {}
  ~Shape() override;
  int area(int scale) const { return sides_ * scale; }
  bool operator==(const Shape& other) const;
 private:
  int sides_ = 0;
};

template <typename T>
T largest(const std::vector<T>& values) {
  return values.empty() ? T{} : values.front();
}

using Shapes = std::vector<Shape>; // all of them

}  // namespace geo::flat

int geo::flat::Shape::grow(int by) {
  sides_ += by * 1000000;
  return sides_;
}
""",
    """\
1-3 block
4-5 module geo.flat
6-7 class geo.flat.Shape
8-9 method geo.flat.Shape.Shape, geo.flat.Shape.~Shape
10-10 method geo.flat.Shape.area
11-11 method geo.flat.Shape.operator==
12-15 class geo.flat.Shape
16-20 function geo.flat.largest
21-22 type geo.flat.Shapes
23-28 function geo.flat.Shape.grow
""",
)

CASES["objc"] = (
    """\
#import <Foundation/Foundation.h>

@interface Shape : NSObject
@property (nonatomic) NSInteger sides;
- (NSInteger)areaWithScale:(NSInteger)scale;
@end

@implementation Shape
- (NSInteger)areaWithScale:(NSInteger)scale {
    return self.sides * scale * 1000000;
}
+ (instancetype)shapeWithSides:(NSInteger)sides name:(NSString *)name {
    return [[Shape alloc] init];
}
@end
""",
    """\
1-2 block
3-7 class Shape, Shape.areaWithScale:
8-8 implementation Shape
9-11 method Shape.areaWithScale:
12-15 method Shape.shapeWithSides:name:
""",
)

CASES["csharp"] = (
    """\
using System;

namespace Geo.Flat;

/// <summary>A shape.</summary>
[Serializable]
public class Shape : Base
{
    private int sides = 10;

    public string Name { get; set; } = "a name of a shape";

    public Shape(int sides) { this.sides = sides; }

    [Obsolete]
    public int Area(int scale) { return sides * scale; }

    public static Shape operator +(Shape a, Shape b) => a;
}

interface IArea { int Area(int scale, bool exact); }

enum Color { Red, Green, Blue, Yellow, Purple }

record Point(int X, int Y, int Z, string Label);
""",
    """\
1-4 block Geo.Flat
5-10 class Geo.Flat.Shape
11-12 method Geo.Flat.Shape.Name
13-14 method Geo.Flat.Shape.Shape
15-17 method Geo.Flat.Shape.Area
18-20 method Geo.Flat.Shape.operator +
21-22 interface Geo.Flat.IArea
23-24 enum Geo.Flat.Color
25-25 class Geo.Flat.Point
""",
)

CASES["ruby"] = (
    """\
require 'set'

LIMIT = 10

# Flat things.
module Flat
  # A shape.
  class Shape < Base
    attr_reader :sides

    def area(scale)
      @sides * scale * 1_000_000_000
    end

    def self.build(sides)
      new(sides + 1_000_000_000, "a shape")
    end
  end
end

def helper(value)
  value.to_s * 1_000_000_000
end
""",
    """\
1-4 constant LIMIT
5-6 module Flat
7-10 class Flat.Shape
11-14 method Flat.Shape.area
15-20 method Flat.Shape.build
21-23 function helper
""",
)

CASES["php"] = (
    """\
<?php

namespace App\\Models;

use Some\\Thing;

const LIMIT = 10;

/** A shape. */
#[Entity]
abstract class Shape extends Base
{
    private int $sides = 10;

    public function area(int $scale): int
    {
        return $this->sides * $scale;
    }

    public static function build(): self { return new static(1000); }
}

interface Area { public function area(int $scale): int; }

trait Named { public function name(): string { return 'x'; } }

function helper(int $value): int { return $value * 1000; }
""",
    """\
1-8 constant App.Models, App.Models.LIMIT
9-14 class App.Models.Shape
15-19 method App.Models.Shape.area
20-22 method App.Models.Shape.build
23-24 interface App.Models.Area
25-26 trait App.Models.Named
27-27 function App.Models.helper
""",
)

CASES["swift"] = (
    """\
import Foundation

let limit = 10

/// A shape.
@objc
public class Shape: NSObject {
    var sides = 10

    init(sides: Int) {
        self.sides = sides * 1000000
    }

    func area(scale: Int) -> Int {
        return sides * scale * 1000000
    }
}

struct Point {
    let x: Double, y: Double, label: String
}

extension Shape {
    func grow(by: Int) { sides += by * 1000000 }
}

protocol Area {
    func area(scale: Int, exact: Bool) -> Int
}

enum Color { case red, green, blue, yellow, purple }
""",
    """\
1-4 constant limit
5-9 class Shape, Shape.sides
10-13 method Shape.init
14-18 method Shape.area
19-22 struct Point
23-26 implementation Shape, Shape.grow
27-30 interface Area, Area.area
31-31 enum Color
""",
)

CASES["scala"] = (
    """\
package a.b

import scala.math.max

/** A shape. */
@serializable
class Shape(val sides: Int) extends Base {
  def area(scale: Int): Int = {
    sides * scale * 1000000
  }

  def grow(by: Int): Shape = new Shape(sides + by)
}

object Shape {
  def apply(): Shape = new Shape(1000000)
}

trait Area {
  def area(scale: Int, exact: Boolean): Int
}

case class Point(x: Int, y: Int, label: String)

val limit = 10
""",
    """\
1-4 block
5-7 class Shape
8-11 method Shape.area
12-14 method Shape.grow
15-18 object Shape, Shape.apply
19-22 trait Area, Area.area
23-25 class Point, limit
""",
)

CASES["bash"] = (
    """\
#!/usr/bin/env bash
set -euo pipefail
LIMIT=10

# Builds it.
build() {
  echo "building the thing $LIMIT"
}

function clean {
  rm -rf build dist target out node_modules
}

if [ -n "$LIMIT" ]; then
  inner() { echo "only when there is a limit"; }
fi
""",
    """\
1-4 constant LIMIT
5-9 function build
10-13 function clean
14-16 block inner
""",
)

CASES["lua"] = (
    """\
local M = {}
local LIMIT = 10

-- Its area.
function M.area(shape, scale)
  return shape.sides * scale * 1000000
end

function M:grow(by)
  self.sides = self.sides + by * 1000000
end

local function helper(value)
  return tostring(value) .. "a helper"
end

M.later = function(value)
  return value * 1000000 + LIMIT
end

return M
""",
    """\
1-3 constant M, LIMIT
4-8 function M.area
9-12 function M.grow
13-16 function helper
17-21 function M.later
""",
)

CASES["elixir"] = (
    """\
defmodule Flat.Shape do
  @moduledoc "A shape."
  defstruct [:sides]

  @doc "Its area."
  @spec area(t, integer) :: integer
  def area(shape, scale) when scale > 0 do
    shape.sides * scale * 1_000_000
  end

  defp helper(value), do: value * 1_000_000

  defmacro square(x) do
    quote do: unquote(x) * unquote(x)
  end
end

defimpl String.Chars, for: Flat.Shape do
  def to_string(shape), do: "shape #{shape.sides}"
end
""",
    """\
1-4 module Flat.Shape
5-10 function Flat.Shape.area
11-12 function Flat.Shape.helper
13-17 macro Flat.Shape.square
18-20 implementation Chars for Flat.Shape, Flat.Shape.to_string
""",
)

CASES["html"] = (
    """\
<!DOCTYPE html>
<html>
<head>
  <title>A page with a title of some length</title>
  <style>
    body { color: red; }
  </style>
</head>
<body>
  <section id="main">
    <p>The first paragraph of this page, which is long.</p>
    <p>The second paragraph of this page, which is long.</p>
    <p>The third paragraph of this page, which is long.</p>
  </section>
  <footer id="end"><p>The footer of this page, also long.</p></footer>
</body>
</html>
""",
    """\
1-9 block
10-11 element main
12-14 element main
15-17 element end
""",
)

CASES["css"] = (
    """\
@import "base.css";
:root { --accent: #123456; }

/* The main part. */
.main, .aside > p {
  color: var(--accent);
  margin: 0 auto 12px auto;
}

@media (max-width: 600px) {
  .main { display: none; }
  .aside { display: block; }
  .footer { display: flex; margin: 0; }
  .header { display: flex; margin: 0; }
}
""",
    """\
1-9 rule :root, .main,.aside > p
10-12 rule @media (max-width: 600px), .main, .aside
13-15 rule @media (max-width: 600px), .footer, .header
""",
)

CASES["scss"] = (
    """\
$accent: #123456;

@mixin centered($width) {
  max-width: $width;
  margin: 0 auto;
}

.card {
  &:hover { color: $accent; }
  .title { font-weight: bold; font-size: 120%; }
  .body { font-weight: normal; font-size: 100%; }
}
""",
    """\
1-7 function centered
8-12 rule .card
""",
)

CASES["sql"] = (
    """\
-- All shapes.
CREATE TABLE flat.shapes (
  id integer PRIMARY KEY,
  sides integer NOT NULL
);

CREATE VIEW big_shapes AS
  SELECT id FROM flat.shapes WHERE sides > 10;

CREATE OR REPLACE FUNCTION area(scale integer) RETURNS integer AS $$
  SELECT scale * 1000000;
$$ LANGUAGE sql;

INSERT INTO flat.shapes (id, sides) VALUES (1, 3);
""",
    """\
1-6 table flat.shapes
7-9 table big_shapes
10-13 function area
14-14 block
""",
)

CASES["nix"] = (
    """\
{ lib, stdenv }:
let
  # How many there are.
  sides = 3;
  centre = shape: {
    inherit (shape) name;
    at = [ 0 0 ];
  };
in
stdenv.mkDerivation {
  pname = "shapes";
  version = "1.0";
}
""",
    """\
1-9 block centre
10-13 block
""",
)

CASES["markdown"] = (
    """\
---
title: not a heading
---
Some words before any heading.

# Guide

How to use the guide, in a sentence that is long enough.

## Install

```sh
# not a heading
pip install the-package-that-you-want
```

Use
---

One paragraph about how to use the thing, which is long enough.

Another paragraph about how to use the thing, also long enough.

A third paragraph about how to use the thing, also long enough.

# License #

Apache-2.0, in a sentence.
""",
    """\
1-5 text
6-9 section Guide
10-16 section Guide > Install
17-21 section Guide > Use
22-25 section Guide > Use
26-28 section License
""",
)

CASES["toml"] = (
    """\
title = "A project file"

[project]
name = "shapes"
version = "1.0.0"

# How to build it.
[tool.build]
backend = "some-backend-with-a-long-name"

[[tool.build.steps]]
run = "the first of the steps to build it"
""",
    """\
1-2 key title
3-6 table project
7-10 table tool.build
11-12 table tool.build.steps
""",
)

CASES["yaml"] = (
    """\
name: build
# When it runs.
on: push
jobs:
  test:
    runs-on: a-machine-with-a-long-name
    steps:
      - run: the first step of the test job
      - run: the second step of the test job
  deploy:
    runs-on: another-machine-with-a-long-name
""",
    """\
1-3 key name, on
4-9 key jobs, jobs.test
10-11 key jobs, jobs.deploy
""",
)

CASES["json"] = (
    """\
{
  "name": "shapes",
  "scripts": {
    "build": "run the first of the steps to build it",
    "test": "run the second of the steps to test it",
    "lint": "run the third of the steps to lint it"
  },
  "private": true
}
""",
    """\
1-2 key name
3-4 key scripts, scripts.build
5-7 key scripts, scripts.test, scripts.lint
8-9 key private
""",
)

CASES["dart"] = (
    """\
import 'dart:math';

const limit = 10;

/// A shape.
class Shape extends Base {
  final int sides = 10;

  Shape.named(String name);

  int area(int scale) {
    return sides * scale * 1000000;
  }

  void grow(int by) {
    print('growing by a number of sides');
  }
}

int helper(int value) {
  return value * 1000000 + limit;
}
""",
    """\
1-4 block limit
5-10 class Shape
11-14 method Shape.area
15-19 method Shape.grow
20-22 function helper
""",
)

CASES["zig"] = (
    """\
const std = @import("std");

/// A shape.
pub const Shape = struct {
    sides: u32,

    pub fn area(self: Shape, scale: u32) u32 {
        return self.sides * scale * 1000000;
    }

    pub fn grow(self: *Shape, by: u32) void {
        self.sides += by * 1000000;
    }
};

fn helper(value: u32) u32 {
    return value * 1000000;
}

test "area of a shape" {
    try std.testing.expect(helper(1) > 0);
}
""",
    """\
1-2 constant std
3-6 struct Shape
7-10 method Shape.area
11-15 method Shape.grow
16-19 function helper
20-22 block
""",
)

CASES["haskell"] = (
    """\
module Flat.Shape where

import Data.List

-- | A shape.
data Shape = Shape { sides :: Int, name :: String }

-- | Its area.
area :: Shape -> Int -> Int
area shape 0 = 0
area shape scale = sides shape * scale * 1000000

class HasArea a where
  areaOf :: a -> Int -> Maybe Int
""",
    """\
1-5 block
6-7 type Shape
8-10 function area
11-12 function area
13-14 class HasArea
""",
)

CASES["ocaml"] = (
    """\
open Printf

let limit = 10

(* A shape. *)
type shape = { sides : int; name : string }

let area shape scale =
  shape.sides * scale * 1000000

module Flat = struct
  let grow shape by = { shape with sides = by }
end
""",
    """\
1-4 constant limit
5-7 type shape
8-10 function area
11-13 module Flat, Flat.grow
""",
)

CASES["julia"] = (
    """\
module Flat

using LinearAlgebra

const LIMIT = 10

struct Shape
    sides::Int
    name::String
end

function area(shape::Shape, scale)
    return shape.sides * scale * 1000000
end

macro square(x)
    return :($x * $x) # squares whatever it gets
end

end
""",
    """\
1-6 module Flat, Flat.LIMIT
7-11 struct Flat.Shape
12-15 function Flat.area
16-20 macro Flat.square
""",
)

CASES["r"] = (
    """\
library(stats)
limit <- 10

# Its area.
area <- function(shape, scale) {
  shape$sides * scale * 1000000
}

grow = function(shape, by) {
  shape$sides + by * 1000000
}
""",
    """\
1-3 constant limit
4-8 function area
9-11 function grow
""",
)

CASES["perl"] = (
    """\
package Flat::Shape;
use strict;

# Its area.
sub area {
    my ($self, $scale) = @_;
    return $self->{sides} * $scale;
}

sub grow {
    my ($self, $by) = @_;
    $self->{sides} += $by * 1000000;
}

1;
""",
    """\
1-3 block Flat.Shape
4-9 function Flat.Shape.area
10-15 function Flat.Shape.grow
""",
)

CASES["erlang"] = (
    """\
-module(shape).
-export([area/2]).

-record(shape, {sides = 10, name = "a shape"}).

%% Its area.
area(Shape, 0) -> {zero, Shape};
area(Shape, Scale) -> Shape * Scale * 1000000.

helper(Value) -> Value * 1000000 + 1000000.
""",
    """\
1-3 block
4-5 struct shape
6-7 function area
8-9 function area
10-10 function helper
""",
)

CASES["clojure"] = (
    """\
(ns flat.shape
  (:require [clojure.string :as str]))

(def limit 10)

(defn area
  "Its area."
  [shape scale]
  (* (:sides shape) scale 1000000))

(defmacro square [x]
  `(* ~x ~x ~'long-enough))
""",
    """\
1-5 constant flat.shape, limit
6-10 function area
11-12 macro square
""",
)

CASES["solidity"] = (
    """\
pragma solidity ^0.8.0;

/// A shape.
contract Shape is Base {
    uint public sides = 10;

    function area(uint scale) public view returns (uint) {
        return sides * scale * 1000000;
    }

    modifier onlyOwner() {
        require(msg.sender == owner, "no owner");
        _;
    }
}

interface Area { function area(uint scale) external; }
""",
    """\
1-2 block
3-6 class Shape
7-10 method Shape.area
11-16 method Shape.onlyOwner
17-17 interface Area
""",
)

CASES["powershell"] = (
    """\
$limit = 10

function Get-Area {
    return $sides * $scale * 1000000
}

class Shape {
    [int] Area([int] $scale) {
        return $this.sides * $scale * 1000000
    }
}
""",
    """\
1-6 function Get-Area
7-11 class Shape, Shape.Area
""",
)

CASES["fish"] = (
    """\
set limit 10

# Its area.
function area
    echo "the area of a shape" $limit
end
""",
    """\
1-6 function area
""",
)

CASES["starlark"] = (
    """\
load("//tools:defs.bzl", "shape")

LIMIT = 10

def area(scale):
    return scale * 1000000 * LIMIT

shape(name = "square", sides = 4)
""",
    """\
1-4 block
5-7 function area
8-8 block
""",
)

CASES["proto"] = (
    """\
syntax = "proto3";
package flat;

// A shape.
message Shape {
  int32 sides = 1;
  string name = 2;
}

service Areas {
  rpc Area (Shape) returns (Shape);
}

enum Color { RED = 0; GREEN = 1; BLUE = 2; }
""",
    """\
1-3 block
4-9 struct Shape
10-13 interface Areas, Areas.Area
14-14 enum Color
""",
)

CASES["graphql"] = (
    '''\
"""A shape."""
type Shape implements Node {
  sides: Int!
  name: String
}

query AllShapes($first: Int) {
  shapes(first: $first) { sides name }
}

enum Color { RED GREEN BLUE YELLOW PURPLE }
''',
    """\
1-6 struct Shape
7-10 function AllShapes
11-11 enum Color
""",
)

CASES["hcl"] = (
    """\
# A machine.
resource "cloud_machine" "worker" {
  size = "a-rather-long-size-name"
}

variable "region" {
  default = "a-rather-long-region"
}
""",
    """\
1-8 block resource.cloud_machine.worker, variable.region
""",
)

CASES["dockerfile"] = (
    """\
FROM debian:12 AS build
RUN apt-get update && apt-get install -y build-essential cmake
COPY . /src
RUN make -C /src all install PREFIX=/usr/local

FROM debian:12-slim AS run
COPY --from=build /src/out /usr/local/bin
CMD ["tool"]
""",
    """\
1-5 step build
6-8 step run
""",
)

CASES["make"] = (
    """\
PREFIX = /usr/local

# Builds it.
all: main.o
	cc -o all main.o -O2 -lm -lpthread

define banner
echo "a banner of a certain length"
endef

.PHONY: all
""",
    """\
1-6 function PREFIX, all
7-11 macro banner
""",
)

CASES["cmake"] = (
    """\
project(shapes)

# Adds a shape.
function(add_shape name)
  add_library(${name} STATIC ${name}.c)
endfunction()

macro(require_shape name)
  find_package(${name} REQUIRED)
endmacro()
""",
    """\
1-7 function add_shape
8-10 macro require_shape
""",
)

CASES["vue"] = (
    """\
<template>
  <button class="wide" @click="press">{{ label }}</button>
</template>

<script>
const limit = 10;

function pressed(event) {
  return event.target.value * 1000000;
}

export function released(event) {
  return event.target.value * 2000000;
}
</script>
""",
    """\
1-7 constant limit
8-11 function pressed
12-15 function released
""",
)

CASES["svelte"] = (
    """\
<script lang="ts">
  export let label: string = 'x';

  function pressed(event: Event): number {
    return event.timeStamp * 1000000;
  }

  function released(event: Event): number {
    return event.timeStamp * 2000000;
  }
</script>

<button on:click={pressed}>{label}</button>
""",
    """\
1-3 constant label
4-7 function pressed
8-12 function released
13-13 block
""",
)

CASES["xml"] = (
    """\
<?xml version="1.0"?>
<project>
  <name>shapes of all kinds and sizes in a project</name>
  <dependencies>
    <dependency><id>the-first-dependency-of-all</id></dependency>
    <dependency><id>the-second-dependency-of-all</id></dependency>
  </dependencies>
</project>
""",
    """\
1-4 block
5-5 block
6-8 block
""",
)


def check_chunks(text: str, chunks: list[Chunk], max_chars: int) -> None:
    """What holds for every text in every language: each line is in exactly one chunk, in order."""
    text = cut_long_lines(normalise_newlines(text))
    assert "".join(chunk.text for chunk in chunks) == (text if text.strip() else "")
    line = 1
    for chunk in chunks:
        assert chunk.start_line == line
        lines = chunk.text.count("\n") + (not chunk.text.endswith("\n"))
        assert chunk.end_line == chunk.start_line + lines - 1
        line = chunk.end_line + 1
        assert chunk.kind in KINDS
        assert len(chunk.signature) <= MAX_SIGNATURE
        assert chunk.text.strip(), "a chunk of blanks alone"
        if len(chunk.text) > max_chars:
            kept = [part for part in chunk.text.split("\n") if part.strip()]
            assert len(kept) <= 1 or len(chunk.text.strip()) <= max_chars


@pytest.mark.parametrize("language", CASES)
def test_chunks_of_each_language(language: str) -> None:
    source, expected = CASES[language]
    chunks = chunk_text("some/path", source, language, max_chars=BUDGET)
    check_chunks(source, chunks, BUDGET)
    assert [
        f"{chunk.start_line}-{chunk.end_line} {chunk.kind} {chunk.symbol}".rstrip() for chunk in chunks
    ] == expected.splitlines()
    assert {chunk.path for chunk in chunks} == {"some/path"}
    assert {chunk.language for chunk in chunks} == {language}


def test_every_language_that_is_parsed_has_a_case() -> None:
    parsed = {row.name for row in LANGUAGES.values() if row.grammar}
    assert parsed | {"markdown"} == set(CASES)


@pytest.mark.parametrize("row", LANGUAGES.values(), ids=LANGUAGES)
def test_rows_are_sound(row) -> None:
    assert row.naming in NAMINGS
    for kind in row.definitions.values():
        assert kind in HOOKS if kind.startswith("@") else kind in KINDS
    assert all(extension.startswith(".") and extension.islower() for extension in row.extensions)
    if row.grammar:
        known = parser_for(row.grammar).language
        assert known is not None
        for node in row.definitions:
            assert known.id_for_node_kind(node, True) is not None, f"no node {node} in {row.grammar}"


def test_no_name_belongs_to_two_languages() -> None:
    for names in (
        [extension for row in LANGUAGES.values() for extension in row.extensions],
        [name for row in LANGUAGES.values() for name in row.filenames],
        [name for row in LANGUAGES.values() for name in row.interpreters],
    ):
        assert len(names) == len(set(names))


def test_every_hook_is_used() -> None:
    used = {kind for row in LANGUAGES.values() for kind in row.definitions.values()}
    assert set(HOOKS) <= used


@pytest.mark.parametrize("language", CASES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_sources_keep_every_line(language: str, data: st.DataObject) -> None:
    text = CASES[language][0] * data.draw(st.integers(1, 3))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 60)))
        junk = data.draw(st.sampled_from(JUNK))
        text = text[:at] + junk + text[until:]
    max_chars = data.draw(st.integers(1, 600))
    check_chunks(text, chunk_text("x", text, language, max_chars=max_chars), max_chars)


JUNK = (
    *("", "\n", "\n\n\n", "\r\n", "\r", "\x0c", "\x00", "\u2028", "\ufeff", "é", "漢字", "😀", "\ud800"),
    *("{", "}", "(", ")", "[", "]", '"', "'", "`", "/*", "*/", "//", "#", "<!--", "-->", "<", ">", "---\n"),
    *("\t", " " * 40, "end\n", "class X:\n", "def f(", "=begin\n", "```\n", "<<EOF\n", "$$", "|>", "\\"),
)


@pytest.mark.parametrize("language", [*LANGUAGES, "", "no-such-language"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=st.one_of(
        st.text(max_size=400),
        st.lists(st.one_of(st.sampled_from(JUNK), st.text(max_size=8)), max_size=60).map("".join),
    ),
    max_chars=st.integers(1, 200),
)
def test_any_text_keeps_every_line(language: str, text: str, max_chars: int) -> None:
    check_chunks(text, chunk_text("x", text, language, max_chars=max_chars), max_chars)


@pytest.mark.parametrize("language", CASES)
def test_deep_nesting_is_survived(language: str) -> None:
    for text in ("[" * 5_000, "(\n" * 5_000, "{\n" * 5_000 + "}\n" * 5_000, "<a>\n" * 5_000, "- " * 5_000):
        check_chunks(text, chunk_text("x", text, language), 1500)


def test_a_symbol_lists_at_most_eight_names() -> None:
    text = "".join(f"NAME_{number} = {number}\n" for number in range(20))
    (chunk,) = chunk_text("x", text, "python")
    assert chunk.symbol.split(", ") == [f"NAME_{number}" for number in range(MAX_NAMES)]
    assert chunk.kind == "constant"
