//! Validates accounts, roles and passwords. An error never repeats a password.
//!
//! Whether a role exists, and whether a login's `tokenExpirationTime` is in its range, is checked elsewhere (`rbac::token`).

use std::collections::HashSet;

use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};

use super::demand::{Demand, Demanded};
use super::pattern;
use super::rule::{MemberRule, REQUIRED, ShownCount, ShownTexts, required};
use crate::domain::account::{Account, Role};
use crate::error::Error;

/// The last part of a path that creates accounts. No route would read, change or delete an account of this name.
const HIDDEN: &str = "batch-create";
const NAME: MemberRule = MemberRule::between(1, 64).and_like(pattern::NAME);
/// Id that a new account gives; may be empty. Tokens have it, so its length is limited.
const ID: MemberRule = MemberRule::at_most(64).and_like(pattern::ID);
const MOST_ROLES: usize = 5;
const ROLES: MemberRule = MemberRule::between(1, MOST_ROLES);
/// An empty name passes: no role has it, so it is rejected as a role that does not exist.
const ROLE: MemberRule = MemberRule::at_most(64).and_like(pattern::NAME);
const STATUS: MemberRule = MemberRule::like(pattern::ACCOUNT_STATUS);
/// Stored and shown, without effect.
const EXPIRATION: MemberRule = MemberRule::at_most(64);
const BATCH: MemberRule = MemberRule::between(1, 20);

/// What [`without_password`] demands.
const ACCOUNT: &[Demand] = &[
    Demand::rule("id", ID),
    Demand::rule("name", NAME),
    Demand::new("name", Demanded::NoneOf(&[HIDDEN])),
    Demand::rule("roles", ROLES),
    Demand::rule("roles[]", ROLE),
    Demand::rule("tokenExpirationTime", EXPIRATION),
    Demand::rule("status", STATUS),
];

/// The body of a login. Name and password may be any texts, which then fit no account.
pub const LOGIN: &[Demand] = &[Demand::rule("", REQUIRED)];

/// The body that creates an account.
pub const CREATION: &[Demand] = &[
    Demand::rule("", REQUIRED),
    Demand::new("", Demanded::Part(ACCOUNT)),
    Demand::new("password", Demanded::Password),
];

/// The body that creates many accounts. The answer has a result for each, so accounts are not checked before.
pub const CREATIONS: &[Demand] =
    &[Demand::rule("", REQUIRED), Demand::rule("accounts", BATCH), Demand::rule("accounts[]", REQUIRED)];

/// The body that changes an account.
pub const UPDATE: &[Demand] = &[
    Demand::rule("", REQUIRED),
    Demand::new("", Demanded::OneOf(&["roles", "status"])),
    Demand::rule("roles", MemberRule::at_most(MOST_ROLES)),
    Demand::rule("roles[]", ROLE),
    Demand::rule("status", STATUS),
];

/// The body that changes a password. The current one is demanded only of the account itself.
pub const PASSWORD_CHANGE: &[Demand] =
    &[Demand::rule("", REQUIRED), Demand::new("password", Demanded::Password)];

/// The body that replaces the permissions of a role.
pub const ROLE_UPDATE: &[Demand] = &[
    Demand::rule("", REQUIRED),
    Demand::rule("perms[]", REQUIRED),
    Demand::rule("perms[].resources[]", REQUIRED),
];

/// The body that creates a role.
pub const ROLE_CREATION: &[Demand] =
    &[Demand::new("", Demanded::Part(ROLE_UPDATE)), Demand::rule("name", NAME)];

/// Validates all of an account except its password.
pub fn without_password(account: &Account) -> Result<(), Error> {
    ID.check("Account.Id", &account.id)?;
    NAME.check("Account.Name", &account.name)?;
    if account.name == HIDDEN {
        let detail = format!("an account cannot have the name '{HIDDEN}', because its path creates accounts");
        return Err(Error::invalid(detail));
    }
    roles(&account.roles)?;
    EXPIRATION.check("Account.TokenExpirationTime", &account.token_expiration_time)?;
    STATUS.check("Account.Status", &account.status)
}

/// Validates a new account.
pub fn creation(account: &Account) -> Result<(), Error> {
    without_password(account)?;
    password(&account.password)?;
    if account.password == account.name {
        return Err(Error::invalid("the password equals the name of the account; choose another one"));
    }
    if account.password.chars().eq(account.name.chars().rev()) {
        return Err(Error::invalid("the password is the reversed name of the account; choose another one"));
    }
    Ok(())
}

/// Whether an account can have this name.
pub fn is_name(text: &str) -> bool {
    NAME.check("", text).is_ok()
}

/// Validates a list of new accounts: its length, and that no element is `null`. Each account is validated on its own.
pub fn batch<T>(accounts: &[Option<T>]) -> Result<(), Error> {
    const FIELD: &str = "CreateAccountsRequest.Accounts";
    BATCH.check_count(FIELD, accounts.len(), ShownCount(accounts.len()))?;
    for (index, account) in accounts.iter().enumerate() {
        required(format_args!("{FIELD}[{index}]"), account.as_ref())?;
    }
    Ok(())
}

/// Validates a change of an account's roles, of its status, or of both. An empty list of roles and an empty status change nothing.
pub fn update(account: &Account) -> Result<(), Error> {
    if !account.roles.is_empty() || account.status.is_empty() {
        roles(&account.roles)?;
    }
    STATUS.check("Account.Status", &account.status)
}

fn roles(roles: &[String]) -> Result<(), Error> {
    ROLES.check_count("Account.Roles", roles.len(), ShownTexts(roles))?;
    for (index, role) in roles.iter().enumerate() {
        ROLE.check(format_args!("Account.Roles[{index}]"), role)?;
    }
    Ok(())
}

/// The roles without those that come again.
pub fn without_repetition(mut roles: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    roles.retain(|role| seen.insert(role.clone()));
    roles
}

/// Validates a new password.
pub fn password(password: &str) -> Result<(), Error> {
    let mut classes = [false; 4];
    for character in password.chars() {
        if let Some(class) = class(character) {
            classes[class] = true;
        }
    }
    if (8..=32).contains(&password.len()) && classes == [true; 4] {
        return Ok(());
    }
    Err(Error::invalid(
        "field 'Account.Password' does not match rule: 8 to 32 bytes with at least one upper case letter, one lower case \
         letter, one number, and one punctuation mark or symbol",
    ))
}

/// The class of a character: upper case letter, lower case letter, number, punctuation mark or symbol.
fn class(character: char) -> Option<usize> {
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    match category {
        GeneralCategory::UppercaseLetter => Some(0),
        GeneralCategory::LowercaseLetter => Some(1),
        _ if GeneralCategoryGroup::Number.contains(category) => Some(2),
        _ if GeneralCategoryGroup::Punctuation.contains(category) => Some(3),
        _ if GeneralCategoryGroup::Symbol.contains(category) => Some(3),
        _ => None,
    }
}

/// Validates a new role. What its permissions say is not checked.
pub fn role_creation(role: &Role) -> Result<(), Error> {
    NAME.check("Role.Name", &role.name)?;
    role_update(role)
}

/// Validates the permissions that replace those of a role: no element is `null`.
pub fn role_update(role: &Role) -> Result<(), Error> {
    for (index, permission) in role.permissions.iter().enumerate() {
        let permission = required(format_args!("Role.Perms[{index}]"), permission.as_ref())?;
        for (at, resource) in permission.resources.iter().enumerate() {
            required(format_args!("Role.Perms[{index}].Resources[{at}]"), resource.as_ref())?;
        }
    }
    Ok(())
}

/// Validates a request to change the caller's own password: the new one, and that the current one is given.
pub fn own_password_change(account: &Account) -> Result<(), Error> {
    password(&account.password)?;
    REQUIRED.check("Account.CurrentPassword", &account.current_password)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::rule::refused_field;
    use super::*;
    use crate::domain::json;

    fn check(result: Result<(), Error>, field: Option<&str>) {
        assert_eq!(refused_field(result).as_deref(), field);
    }

    fn account(name: &str, roles: &[&str]) -> Account {
        Account {
            name: name.to_owned(),
            password: "Tester#Pwd1".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Account::default()
        }
    }

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    const NAMES: [&str; 4] = ["tester-_1", "a", "7", "a_-.b"];
    const WRONG_NAMES: [&str; 13] =
        ["", " ", "tester*", "tester*a", "-a", "a-", "_a", ".a", "a.", "a b", "é", "a/b", "a:b"];

    #[test]
    fn names_of_accounts() {
        check(creation(&account("tester-_1", &["admin", "developer"])), None);
        for good in NAMES.into_iter().chain([x(64).as_str()]) {
            check(creation(&account(good, &["developer"])), None);
        }
        for bad in WRONG_NAMES.into_iter().chain([x(65).as_str()]) {
            check(creation(&account(bad, &["developer"])), Some("Account.Name"));
        }
    }

    #[test]
    fn names_of_roles() {
        let role = |name: &str| Role { name: name.to_owned(), ..Role::default() };
        for good in NAMES.into_iter().chain(["tester-a", x(64).as_str()]) {
            check(role_creation(&role(good)), None);
        }
        for bad in WRONG_NAMES.into_iter().chain([x(65).as_str()]) {
            check(role_creation(&role(bad)), Some("Role.Name"));
        }
    }

    #[test]
    fn roles_of_accounts() {
        for validate in [creation, update] {
            let with = |roles: &[&str]| validate(&account("a", roles));
            check(with(&["r0", "r1", "r2", "r3", "r4"]), None);
            check(with(&["developer", "developer"]), None);
            check(with(&[""]), None);
            check(with(&["r0", "r1", "r2", "r3", "r4", "r5"]), Some("Account.Roles"));
            check(with(&["r", "r", "r", "r", "r", "r"]), Some("Account.Roles"));
            check(with(&[]), Some("Account.Roles"));
            check(with(&["ok", "adm*in"]), Some("Account.Roles[1]"));
            check(with(&[&x(65)]), Some("Account.Roles[0]"));
        }
        let roles = ["b", "a", "b", "a"].map(str::to_owned).to_vec();
        assert_eq!(without_repetition(roles), ["b", "a"]);
    }

    #[test]
    fn status_of_accounts() {
        for validate in [creation, update] {
            let with =
                |status: &str| validate(&Account { status: status.to_owned(), ..account("a", &["r"]) });
            for good in ["", "active", "inactive"] {
                check(with(good), None);
            }
            for bad in ["active1", "ACTIVE", "gone", " "] {
                check(with(bad), Some("Account.Status"));
            }
        }
    }

    /// The original rejects an update of the status alone.
    #[test]
    fn an_update_has_roles_or_status() {
        let status = |status: &str| Account { status: status.to_owned(), ..account("", &[]) };
        check(update(&status("inactive")), None);
        check(update(&status("gone")), Some("Account.Status"));
        check(update(&status("")), Some("Account.Roles"));
    }

    #[test]
    fn other_members_of_a_new_account() {
        let account = || account("a", &["r"]);
        check(creation(&Account { id: "specify-1".to_owned(), ..account() }), None);
        for bad in ["a b", "..", &x(65)] {
            check(creation(&Account { id: bad.to_owned(), ..account() }), Some("Account.Id"));
        }
        check(creation(&Account { token_expiration_time: "30m".to_owned(), ..account() }), None);
        let long = Account { token_expiration_time: x(65), ..account() };
        check(creation(&long), Some("Account.TokenExpirationTime"));
    }

    #[test]
    fn passwords() {
        let long = format!("A1!{}", "b".repeat(29));
        for good in ["Tester#Pwd1", "Ää1!ööö", "Abcdefg1€", "Abcdefg1—", "Abcdefg½!", &long] {
            assert_eq!(password(good), Ok(()), "{good}");
        }
        let (too_long, too_many_bytes) = (format!("{long}b"), format!("A1!{}", "é".repeat(15)));
        for bad in [
            "",
            "Ab1!abc",
            "abcdefg1!",
            "ABCDEFG1!",
            "Abcdefgh!",
            "Abcdefgh1",
            "Abcdefg1 ",
            "Abcdefg1é",
            "Abcdefg1\u{301}",
            &too_long,
            &too_many_bytes,
        ] {
            let error = password(bad).unwrap_err();
            assert_eq!(refused_field(Err(error.clone())).as_deref(), Some("Account.Password"), "{bad}");
            assert!(bad.is_empty() || !error.detail.contains(bad), "an error does not repeat a password");
        }
    }

    #[test]
    fn a_password_is_neither_the_name_nor_its_reverse() {
        let with = |name: &str, password: &str| {
            let account = Account { password: password.to_owned(), ..account(name, &["r"]) };
            creation(&account).err().map(|error| error.detail.into_owned()).unwrap_or_default()
        };
        assert!(with("Xy-1.abc", "Xy-1.abc").contains("equals the name"));
        assert!(with("cba.1-yX", "Xy-1.abc").contains("reversed name"));
        assert_eq!(with("Xy-1.abc", "xY-1.abcQ"), "");
    }

    #[test]
    fn password_changes() {
        let change = |password: &str, current: &str| Account {
            password: password.to_owned(),
            current_password: current.to_owned(),
            ..Account::default()
        };
        check(own_password_change(&change("Tester#Pwd1", "x")), None);
        check(own_password_change(&change("Tester#Pwd1", "")), Some("Account.CurrentPassword"));
        check(own_password_change(&change("tester", "x")), Some("Account.Password"));
    }

    #[test]
    fn batches() {
        let list = |count| vec![Some(account("a", &[])); count];
        check(batch(&list(1)), None);
        check(batch(&list(20)), None);
        check(batch(&list(0)), Some("CreateAccountsRequest.Accounts"));
        check(batch(&list(21)), Some("CreateAccountsRequest.Accounts"));
        check(batch(&[Some(account("a", &[])), None]), Some("CreateAccountsRequest.Accounts[1]"));
    }

    #[test]
    fn permissions_have_no_null() {
        let role = |permissions: &str| -> Role {
            json::decode(format!(r#"{{"name":"r","perms":{permissions}}}"#).as_bytes()).unwrap()
        };
        for good in
            ["[]", "null", "[{}]", r#"[{"resources":[{"type":"any","labels":{"x":"y"}}],"verbs":["any"]}]"#]
        {
            check(role_creation(&role(good)), None);
        }
        for validate in [role_creation, role_update] {
            check(validate(&role("[{}, null]")), Some("Role.Perms[1]"));
            check(validate(&role(r#"[{"resources":[null]}]"#)), Some("Role.Perms[0].Resources[0]"));
        }
    }
}
