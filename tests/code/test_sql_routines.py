"""Procedures of SQL's dialects are found by name, and so are those who call them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turboprop.code import sql_routines

POSTGRES = """\
-- CREATE PROCEDURE not_me()
CREATE OR REPLACE PROCEDURE public."add order"(buyer INT)
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM refresh_totals(buyer);
END;
$$;
CALL public."add order"(1);
"""
MYSQL = """\
DELIMITER //
CREATE DEFINER=`root`@`localhost` PROCEDURE IF NOT EXISTS `level_of`(IN pid INT)
BEGIN
  CALL log_it(pid);
END //
DELIMITER ;
CALL level_of(1);
"""
T_SQL = """\
IF OBJECT_ID('dbo.sp_kill') IS NULL
  EXEC ('CREATE PROCEDURE dbo.sp_kill AS RETURN 0;');
GO

ALTER PROCEDURE [dbo].[sp_kill]
  @Execute bit = 0
AS
BEGIN
  EXEC @result = dbo.sp_who @Execute;
  EXECUTE sys.sp_executesql N'SELECT 1';
END
GO
EXEC sp_kill
GO
"""
PL_SQL = """\
CREATE OR REPLACE EDITIONABLE PACKAGE BODY emp_mgmt AS
  PROCEDURE hire(name VARCHAR2) IS
  BEGIN
    NULL;
  END;
  FUNCTION total RETURN NUMBER IS BEGIN RETURN 1; END;
END emp_mgmt;
/
SELECT function FROM t;
"""


@pytest.mark.parametrize(
    ("text", "made", "called"),
    [
        (POSTGRES, [("add order", 1, 7)], [("refresh_totals", 4), ("add order", 7)]),
        (MYSQL, [("level_of", 1, 4)], [("log_it", 3), ("level_of", 6)]),
        (T_SQL, [("sp_kill", 4, 10)], [("sp_who", 8), ("sp_executesql", 9), ("sp_kill", 12)]),
        (PL_SQL, [("emp_mgmt", 0, 0), ("hire", 1, 4), ("total", 5, 6)], []),
        ("/*\nCREATE PROCEDURE old AS\nEXEC gone;\n*/\nSELECT 'call me';\n-- call it\nEXEC p N'x';\n", [], [("p", 6)]),
        ("call [" * 20_000, [], []),
        ("", [], []),
    ],
)
def test_dialects(text: str, made: list[tuple[str, int, int]], called: list[tuple[str, int]]) -> None:
    assert list(sql_routines.routines(text)) == made
    assert list(sql_routines.calls(text)) == called


@given(st.text(alphabet='create procedu\n[]"`.;@\t(/go', max_size=300))
@settings(max_examples=200, deadline=None)
def test_lines_are_in_the_text(text: str) -> None:
    count = text.count("\n") + 1
    for name, first, last in sql_routines.routines(text):
        assert name
        assert 0 <= first <= last < count
    for name, line in sql_routines.calls(text):
        assert name
        assert 0 <= line < count
