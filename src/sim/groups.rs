//! Groups, as far as their members can list them.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::node::Node;

use super::stanza;
use super::world::{World, now_seconds};

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// What stands before `@g.us`.
    pub id: String,
    pub subject: String,
    /// Numbers; the first one made it.
    pub members: Vec<String>,
    /// Seconds since 1970.
    created_at: u64,
}

impl World {
    /// Makes a group and gives back its address.
    pub fn add_group(&mut self, subject: &str, members: &[&str]) -> String {
        let id = format!("1203630{:011}", self.groups.len() + 1);
        let address = format!("{id}@g.us");
        let members = members.iter().map(|number| (*number).to_owned()).collect();
        self.groups.push(Group { id, subject: subject.to_owned(), members, created_at: now_seconds() });
        address
    }

    /// `<groups>` that a number is in.
    pub(super) fn participating(&self, number: &str) -> Node {
        let own = self.groups.iter().filter(|group| group.members.iter().any(|member| member == number));
        let groups: Vec<Node> = own.map(Group::node).collect();
        NodeBuilder::new("groups").children(groups).build()
    }
}

impl Group {
    fn node(&self) -> Node {
        let members = self.members.iter().enumerate().map(|(place, number)| {
            let member = NodeBuilder::new("participant").attr("jid", stanza::pn(number, 0));
            if place == 0 { member.attr("type", "superadmin").build() } else { member.build() }
        });
        NodeBuilder::new("group")
            .attr("id", self.id.as_str())
            .attr("subject", self.subject.as_str())
            .attr("creation", self.created_at)
            .attr("s_t", self.created_at)
            .children(members.collect::<Vec<_>>())
            .build()
    }
}
