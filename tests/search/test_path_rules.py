"""What a path says of a file: one table of what is a test, prose, both or neither."""

from __future__ import annotations

import pytest

from turboprop.search.path_rules import place_of

TESTS = """
tests/test_app.py  test/app.py  app/test_app.py  app/app_test.py  polls/tests.py  polls/test.py  conftest.py
tests/conftest.py  pkg/testing/test_x.py  pkg/tests/__init__.py  pkg/tests_integration/a.py  src/pkg/_tests/a.py
unittests/a.py  tests_common/helpers.py  src/app_test.go  testdata/in.go  internal/testdata/golden/x.go
src/app_internal_test.go  web/app.spec.ts  web/app.test.tsx  web/app.spec-d.ts  web/app.test-d.ts  web/app.e2e.ts
web/app.cy.ts  src/__tests__/app.js  src/__mocks__/app.js  e2e/login.ts  cypress/integration/login.js
web/app.e2e-spec.ts  web/test.js  web/button.stories.tsx  playwright/login.ts  test/unit/app.mjs  spec/app.coffee
src/main/java/AppTest.java  src/test/java/App.java  src/AppTests.java  src/AppIT.java  src/TestApp.java
AppTestCase.java  src/androidTest/java/App.kt  src/integrationTest/kotlin/App.kt  src/testFixtures/java/App.java
src/jvmTest/kotlin/App.kt  src/commonTest/kotlin/AppTest.kt  src/AppSpec.scala  src/it/scala/AppSuite.scala
src/AppSuite.scala  src/AppTests.kt  src/main/groovy/AppSpec.groovy  src/base/file_unittest.cc  base/file_unittest.mm
base/file_browsertest.cc  base/file_perftest.cc  base/FooTest.cpp  base/FooTests.cpp  base/foo_test.cc
base/foo_tests.cpp  base/test_foo.cpp  base/foo-test.c  base/foo_gtest.cpp  src/FooTest.hpp  unittest/foo.c
base/TestFoo.cpp  Tests/AppTests/Helpers.swift  Tests/AppTests/FooTests.swift  FooTests.swift  FooSpec.swift
AppUITests/Login.swift  AppTests/Login.swift  TestFoo.m  FooTests.m  FooTests.mm  src/App.Tests/CartTests.cs
App.UnitTests/Cart.cs  test/App.Test/Cart.cs  CartTest.cs  src/App.IntegrationTests/A.cs  CartFixture.cs
App.Specs/A.cs  tests/Unit/CartTest.php  Tests/Cart.php  cart.phpt  CartCest.php  CartTest.phpt
spec/models/order_spec.rb  test/order_test.rb  test/test_helper.rb  spec/spec_helper.rb
features/step_definitions/a.rb  features/login.feature  spec/factories/order.rb  t/basic.t  t/lib/Foo.pm  xt/pod.t
lib/foo.t  tests/all.rs  src/tests.rs  src/parser/tests.rs  src/parse_test.rs  src/parser/tests/a.rs
test/cart_test.exs  test/support/case.ex  apps/shop/test/cart.ex  test/shop_SUITE.erl  shop_SUITE.erl  shop_tests.erl
test/Spec.hs  test/Main.hs  TotalSpec.hs  tests/TotalTest.hs  cart_test.dart  test/widget.dart
integration_test/app.dart  core.bats  test/core.bats  cart_test.lua  spec/cart_spec.lua  cart_test.clj
test/cart_core.clj  tests/test-foo.R  tests/testthat/test-a.R  CartTest.jl  test/runtests.jl  src/foo_test.ml
test/foo.ml  foo_test.zig  test_foo.sh  foo_test.sh  test/foo.sh  foo.test.sh  tests/foo.nim  src/foo_test.cr
FooTest.hx  foo_test.tcl  tst_foo.cpp  fixtures/a.json  src/fixtures/a.json  src/mocks/a.ts  src/mock/a.go
src/snapshots/a.snap  __snapshots__/a.snap  app.test.js.snap  AppTest.elm  tests/AppTests.elm  test_foo.f90
""".split()  # noqa: SIM905  a list of paths reads better
PROSE = """
README.md  docs/guide.rst  LICENSE  LICENSE-MIT  COPYING  COPYING.LESSER  CHANGELOG  CHANGES.txt  CHANGES  HISTORY.rst
AUTHORS  NOTICE  CONTRIBUTING  TODO  TODO.txt  README  README.ja  readme.txt  docs/a.adoc  man.pod  docs/a.textile
docs/a.mediawiki  thesis.tex  docs/x.mdx  RELEASE_NOTES  docs/a.rdoc  NEWS  INSTALL  THANKS  MAINTAINERS  SECURITY
CODE_OF_CONDUCT.md
""".split()  # noqa: SIM905  a list of paths reads better
NEITHER = """
src/app.py  src/latest/app.py  src/contest.py  src/attestation.go  src/testament.py  src/protest.js  src/greatest.rb
testify/assert.go  src/testify.py  src/specs.py  src/spec.py  src/specification/parse.ts  src/inspect.py
src/inspector/spec_parser.py  src/special/a.c  lib/testing.rb  numpy/testing/utils.py  src/testing/testing.go
starlette/testclient.py  src/flask/testing.py  src/flask/testsuite.py  src/main/java/org/junit/Test.java
src/main/java/org/junit/Assert.java  src/main/java/Contest.java  src/main/java/Latest.java
src/main/java/Manifest.java  src/Request.swift  src/Guest.kt  src/Digest.cs  src/Fastest.cpp  src/rest.cc
src/manifest.cc  src/forest.py  src/nearest.go  src/Attest.scala  src/Inspec.scala  examples/hello.py
benchmarks/run.py  doc/man.go  src/history.py  package.json  src/TodoList.elm  src/Readme.vue  todo.py
src/License.java  src/license.go  src/notice.ts  src/changes.rb  src/changelog.py  src/authors.sql  src/readme.js
src/todo.html  src/TodoApp.jsx  History.tsx  src/news.py  src/install.sh  install.ps1  security.py  src/t/foo.ts
src/i18n/t.py  t.py  src/unit/a.py  src/mockery.py  src/mock_server.py  src/it/translations.py  src/fixture.py
CMakeLists.txt  requirements.txt  robots.txt  requirements-dev.txt  src/features/login.ts
Sources/Vapor/Testing/Client.swift  setup.cfg  src/e2ee/crypto.ts  CHANGES/3462.feature
.github/workflows/run-tests.yml  docs/test-patterns.yaml  scripts/install  lib/bats/test_functions.bash
src/Monolog/Handler/TestHandler.php  ui/contests/list.tsx  src/test.ts.template/a.ts  src/untested/a.py
src/TestableView.swift
""".split()  # noqa: SIM905  a list of paths reads better


def judged(path: str) -> str:
    place = place_of(path, {"md": "markdown", "rst": "rst"}.get(path.rpartition(".")[2], ""))
    return " ".join(["test"] * place.is_test + ["prose"] * place.is_prose)


@pytest.mark.parametrize("path", TESTS)
def test_tests(path: str) -> None:
    assert judged(path) == "test"


@pytest.mark.parametrize("path", PROSE)
def test_prose(path: str) -> None:
    assert judged(path) == "prose"


@pytest.mark.parametrize("path", NEITHER)
def test_neither(path: str) -> None:
    assert judged(path) == ""


def test_both() -> None:
    assert judged("tests/README.md") == "test prose"
    assert judged("examples/README.md") == "prose"


def test_the_language_counts_where_it_is_known() -> None:
    assert place_of("src/guide", "markdown").is_prose
    assert not place_of("src/TODO.elm", "elm").is_prose
    assert place_of("docs/notes.txt", "text").is_prose
